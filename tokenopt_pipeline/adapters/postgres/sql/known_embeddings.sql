-- Of these passages, the ones that have a vector of this embedder already.
select content_hash from passage_embedding
where embedder = %(embedder)s and dimension = %(dimension)s and content_hash = any(%(hashes)s)
