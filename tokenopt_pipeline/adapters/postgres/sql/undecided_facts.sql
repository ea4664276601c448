-- Every combination of facts that a rule may look at, among the shard's undecided blocks.
select distinct b.block_type, b.is_blank, least(b.n_words, %(words_cap)s) as words
from shard s
join run_document rd using (run_no)
join document d using (document_no)
join block b using (document_no)
where s.run_no = %(run_no)s and s.shard_no = %(shard_no)s
  and rd.first_ordinal < s.end_ordinal and rd.first_ordinal + d.n_blocks > s.first_ordinal
  and b.block_index >= s.first_ordinal - rd.first_ordinal and b.block_index < s.end_ordinal - rd.first_ordinal
  and not exists (select from overlay o where o.run_no = s.run_no and o.block_no = b.block_no)
