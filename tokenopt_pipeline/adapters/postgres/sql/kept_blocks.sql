-- Kept blocks that are in no pack yet, in document order.
select o.block_no, o.ordinal, b.block_type, b.n_tokens, b.language
from skip_decision d
join overlay o on o.run_no = d.run_no and o.block_no = d.block_no
join block b on b.block_no = o.block_no
where d.run_no = %(run_no)s and d.shard_no = %(shard_no)s and d.verdict = 'keep' and o.status = 'pending'
order by o.ordinal
