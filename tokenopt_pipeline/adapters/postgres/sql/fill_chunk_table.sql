-- Joins chunks with the vectors of their passages.
insert into {chunks} (chunk_no, section_no, source_name, title, heading, text, n_tokens, content_hash, trigger, embedding)
select c.chunk_no, c.section_no, c.source_name, c.title, c.heading, c.text, c.n_tokens, c.content_hash, c.trigger, e.embedding
from new_chunk c
left join passage_embedding e
  on e.content_hash = c.content_hash and e.embedder = %(embedder)s and e.dimension = %(dimension)s
order by c.chunk_no
