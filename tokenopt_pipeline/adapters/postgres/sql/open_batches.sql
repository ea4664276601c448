-- Batches that are not closed, the oldest first; of one shard, or of all.
select b.*, r.run_id from batch b join run r using (run_no)
where b.state <> 'closed' and (%(run_no)s::int is null or b.run_no = %(run_no)s)
  and (%(shard_no)s::int is null or b.shard_no = %(shard_no)s)
order by b.batch_no
