-- Lets another process build the reference's index.
select pg_advisory_unlock(hashtextextended('tokenopt reference ' || %(name)s, 0))
