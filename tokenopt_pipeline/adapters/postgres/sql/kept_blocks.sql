-- Kept blocks that are in no pack yet, in document order.
select o.block_no, o.ordinal, b.block_type, b.n_tokens, b.language
from overlay o
join block b using (block_no)
where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.verdict = 'keep' and o.status = 'pending'
order by o.ordinal
