-- pending → ai_complete, for the blocks whose identical block has an answer; a person's values go before the model's.
update overlay o set status = 'ai_complete', staged = coalesce(c.confirmed, c.staged),
  reused_run_no = d.canonical_run_no, reused_block_no = d.canonical_block_no, revision = o.revision + 1
from skip_decision d
join overlay c on c.run_no = d.canonical_run_no and c.block_no = d.canonical_block_no
where d.run_no = o.run_no and d.block_no = o.block_no and d.verdict = 'reuse' and c.status in ('ai_complete', 'confirmed')
  and d.run_no = %(run_no)s and d.shard_no = %(shard_no)s and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
