-- Gives every block of the shard its overlay; those that have one keep it.
insert into overlay (run_no, block_no, shard_no, ordinal, answer_key)
select s.run_no, b.block_no, s.shard_no, rd.first_ordinal + b.block_index,
       encode(substring(sha256(convert_to(r.answer_recipe || b.block_type || b.content_hash, 'UTF8')) for 16), 'hex')::uuid
from shard s
join run r using (run_no)
join run_document rd using (run_no)
join document d using (document_no)
join block b using (document_no)
where s.run_no = %(run_no)s and s.shard_no = %(shard_no)s
  and rd.first_ordinal < s.end_ordinal and rd.first_ordinal + d.n_blocks > s.first_ordinal
  and rd.first_ordinal + b.block_index >= s.first_ordinal and rd.first_ordinal + b.block_index < s.end_ordinal
-- Whichever of its unique keys another session was first with: both say that it is the same block.
on conflict do nothing
