-- Today's documents in the order of their names; bytes that stand under two names count once.
select d.document_id, d.document_no, d.n_blocks, min(c.source_name collate "C") as source_name
from collection_document c join document d using (document_no)
where c.collection_no = %(collection_no)s and c.superseded_at is null
group by d.document_id, d.document_no, d.n_blocks
order by min(c.source_name collate "C"), d.document_id
