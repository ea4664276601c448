-- Announces an index that does not serve yet; its number, after which its tables are named.
insert into reference_index
  (reference_no, recipe_digest, sources_digest, chunk_tokens, embedder, dimension, n_chunks, n_sections, n_rules, state, built_at)
values
  (%(reference_no)s, %(recipe_digest)s, %(sources_digest)s, %(chunk_tokens)s, %(embedder)s, %(dimension)s,
   %(n_chunks)s, %(n_sections)s, %(n_rules)s, 'retired', %(now)s)
returning index_no
