select pg_advisory_unlock(%(run_no)s, %(shard_no)s)
