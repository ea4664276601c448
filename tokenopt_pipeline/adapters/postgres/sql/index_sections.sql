-- The section of every chunk, in the order of their numbers, which begin at 1: an array as Postgres sends it.
select array_send(array_agg(section_no order by chunk_no)) as sections from {chunks}
