-- A place for one request's vectors, gone at the transaction's end.
create temporary table new_embedding (content_hash uuid, embedding halfvec) on commit drop
