-- Held by this connection until it is released or the connection ends.
select pg_advisory_lock(%(run_no)s, %(shard_no)s)
