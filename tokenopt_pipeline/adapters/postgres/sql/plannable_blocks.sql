-- Today's blocks of a collection in document order, with what planning looks at; `is_known`: an identical block has an
-- answer under this recipe.
select b.block_type, b.is_blank, b.n_words, b.n_tokens, b.content_hash, b.language,
  exists (select from overlay o where (o.staged is not null or o.confirmed is not null)
    and o.status in ('ai_complete', 'confirmed') and o.call_no is not null and o.answer_key =
    encode(substring(sha256(convert_to(%(recipe)s::uuid || b.block_type || b.content_hash, 'UTF8')) for 16), 'hex')::uuid) as is_known
from (
  select d.document_no, d.document_id, min(c.source_name collate "C") as source_name
  from collection_document c join document d using (document_no) join collection using (collection_no)
  where collection.name = %(collection)s and c.superseded_at is null
  group by 1, 2
) t join block b using (document_no)
order by t.source_name collate "C", t.document_id, b.block_index
