-- Keeps vectors; one that is known stays as it is.
insert into passage_embedding (content_hash, embedder, dimension, embedding)
select content_hash, %(embedder)s, %(dimension)s, embedding from new_embedding
on conflict do nothing
