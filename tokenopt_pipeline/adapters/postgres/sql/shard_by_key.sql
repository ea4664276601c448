-- The shard behind a partition key.
select r.run_no, s.shard_no from run r join shard s using (run_no)
where r.run_id = %(run_id)s and s.shard_no = %(shard_no)s
