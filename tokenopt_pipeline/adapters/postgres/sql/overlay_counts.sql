-- Overlays of the shard by status.
select status, count(*) as n from overlay where run_no = %(run_no)s and shard_no = %(shard_no)s group by 1 order by 1
