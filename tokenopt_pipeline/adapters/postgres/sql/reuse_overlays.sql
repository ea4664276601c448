-- pending → ai_complete, for the blocks whose identical block has an answer; a person's values go before the model's.
update overlay o set status = 'ai_complete', staged = coalesce(c.confirmed, c.staged),
  reused_run_no = o.canonical_run_no, reused_block_no = o.canonical_block_no, revision = o.revision + 1
from overlay c
where c.run_no = o.canonical_run_no and c.block_no = o.canonical_block_no and c.status in ('ai_complete', 'confirmed')
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.verdict = 'reuse' and o.status = 'pending'
