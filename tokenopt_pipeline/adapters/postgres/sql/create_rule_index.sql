-- Finds the chunks that are rules without reading the others.
create index on {chunks} (chunk_no) where trigger is not null
