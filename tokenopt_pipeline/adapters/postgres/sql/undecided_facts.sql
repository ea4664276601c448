-- Every combination of facts that a rule may look at, among the shard's undecided blocks.
select distinct b.block_type, b.is_blank, least(b.n_words, %(words_cap)s) as words
from overlay o join block b using (block_no)
where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
  and not exists (select from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no)
