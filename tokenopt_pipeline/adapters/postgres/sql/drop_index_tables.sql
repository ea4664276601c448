-- Frees what an index that nobody reads any more holds.
drop table if exists {chunks}, {words}
