-- Blocks of a run, or of one shard, of which an earlier answer is the output after all.
select count(*) as n from chosen_answer c join overlay o on o.run_no = c.run_no and o.block_no = c.block_no
where c.run_no = %(run_no)s and (%(shard_no)s::int is null or o.shard_no = %(shard_no)s)
