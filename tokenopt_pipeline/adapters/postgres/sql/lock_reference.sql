-- Held by this connection until it is released or the connection ends.
select pg_advisory_lock(hashtextextended('tokenopt reference ' || %(name)s, 0))
