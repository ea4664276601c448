-- pending → ai_complete, for the blocks of the run's other shards that have been waiting for an identical block of this one.
update overlay o set status = 'ai_complete', staged = coalesce(c.confirmed, c.staged),
  reused_run_no = d.canonical_run_no, reused_block_no = d.canonical_block_no, revision = o.revision + 1
from overlay c
join skip_decision d on d.canonical_run_no = c.run_no and d.canonical_block_no = c.block_no and d.verdict = 'reuse' and d.run_no = c.run_no
where c.run_no = %(run_no)s and c.shard_no = %(shard_no)s and c.status in ('ai_complete', 'confirmed')
  and o.run_no = d.run_no and o.block_no = d.block_no and o.status = 'pending'
