delete from batch_lease where lease = %(lease)s and run_no = %(run_no)s and shard_no = %(shard_no)s
