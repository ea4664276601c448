-- Every combination of facts that a rule may look at, among the shard's undecided blocks.
select distinct b.block_type, b.is_blank, least(b.n_words, %(words_cap)s) as words
from shard_document d
join block b on b.document_no = d.document_no and b.block_index >= d.from_index and b.block_index < d.end_index
where d.run_no = %(run_no)s and d.shard_no = %(shard_no)s
  and b.block_no not in (select o.block_no from overlay o where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s)
