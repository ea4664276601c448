-- How many blocks of the run's documents stand in the shard.
select coalesce(sum(least(rd.first_ordinal + d.n_blocks, s.end_ordinal) - greatest(rd.first_ordinal, s.first_ordinal)), 0) as n
from shard s
join run_document rd using (run_no)
join document d using (document_no)
where s.run_no = %(run_no)s and s.shard_no = %(shard_no)s
  and rd.first_ordinal < s.end_ordinal and rd.first_ordinal + d.n_blocks > s.first_ordinal
