-- The first of each group of blocks that are alike in the run. Asked once, when the run is made: its documents never change.
insert into repeated_block (run_no, content_hash, block_type, block_no, ordinal)
select %(run_no)s, content_hash, block_type, (array_agg(block_no order by ordinal))[1], min(ordinal)
from (
  select b.content_hash, b.block_type, b.block_no, d.first_ordinal + b.block_index as ordinal
  from run_document d join block b using (document_no) where d.run_no = %(run_no)s
) t
group by content_hash, block_type having count(*) > 1
