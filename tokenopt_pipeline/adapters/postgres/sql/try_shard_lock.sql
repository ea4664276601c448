-- Taken by this connection until it closes.
select pg_try_advisory_lock(%(run_no)s, %(shard_no)s) as locked
