-- How widely this connection looks for nearest vectors from now on: as wide as the list that is wanted.
select set_config('hnsw.ef_search', %(n)s, false)
