-- A place for chunks without their vectors, gone at the transaction's end.
create temporary table new_chunk (
  chunk_no int, section_no int, source_name text, title text, heading text, text text, n_tokens int, content_hash uuid, trigger jsonb
) on commit drop
