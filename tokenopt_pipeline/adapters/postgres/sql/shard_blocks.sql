-- How many blocks of the run's documents stand in the shard.
select coalesce(sum(greatest(least(x.n_blocks, d.end_index) - d.from_index, 0)), 0) as n
from shard_document d
join document x using (document_no)
where d.run_no = %(run_no)s and d.shard_no = %(shard_no)s
