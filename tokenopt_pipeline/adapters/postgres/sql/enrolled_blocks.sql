-- How many blocks of the shard have an overlay.
select count(*) as n from overlay where run_no = %(run_no)s and shard_no = %(shard_no)s
