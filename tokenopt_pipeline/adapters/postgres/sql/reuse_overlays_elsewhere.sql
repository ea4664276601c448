-- pending → ai_complete, for the blocks of the run's other shards that have been waiting for an identical block of this one.
update overlay o set status = 'ai_complete', staged = coalesce(c.confirmed, c.staged),
  reused_run_no = o.canonical_run_no, reused_block_no = o.canonical_block_no, revision = o.revision + 1
from overlay c
where c.run_no = %(run_no)s and c.shard_no = %(shard_no)s and c.status in ('ai_complete', 'confirmed')
  and o.canonical_run_no = c.run_no and o.canonical_block_no = c.block_no and o.verdict = 'reuse'
  and o.run_no = c.run_no and o.status = 'pending'
