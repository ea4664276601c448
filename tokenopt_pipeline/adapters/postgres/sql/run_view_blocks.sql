-- Blocks of a run from a place on, in document order, with no more of their texts than is shown; enrolled or not.
select d.document_id, b.block_index, rd.first_ordinal + b.block_index as ordinal, b.block_type,
  left(b.text, %(most_chars)s) as text, octet_length(b.text) as n_bytes
from run_document rd
join document d using (document_no)
join block b using (document_no)
where rd.run_no = %(run_no)s and rd.first_ordinal + d.n_blocks > %(start)s
  and rd.first_ordinal + b.block_index >= %(start)s
order by rd.first_ordinal, b.block_index
limit %(count)s
