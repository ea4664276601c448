-- Nearest vectors; the parameters are pgvector's defaults, which reached a recall of .99 at 20,000 chunks.
create index on {chunks} using hnsw (embedding halfvec_cosine_ops) with (m = 16, ef_construction = 64)
