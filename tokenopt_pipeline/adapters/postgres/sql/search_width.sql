-- How widely this connection looks for nearest vectors from now on.
select set_config('hnsw.ef_search', %(n)s, false)
