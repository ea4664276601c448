-- The index that serves a reference, and whether the sources have changed since it was built.
select i.index_no, i.recipe_digest, i.chunk_tokens, i.embedder, i.dimension, i.n_chunks, i.n_sections, i.n_rules, i.built_at, i.calibration,
  i.sources_digest <> r.sources_digest as is_stale
from reference r join reference_index i on i.reference_no = r.reference_no and i.state = 'serving'
where r.name = %(name)s
