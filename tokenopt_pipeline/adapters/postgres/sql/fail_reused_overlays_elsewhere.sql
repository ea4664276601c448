-- pending → failed, for the blocks of the run's other shards whose identical block of this one has failed.
update overlay o set status = 'failed', error_class = c.error_class, revision = o.revision + 1,
  error_detail = 'the identical block ' || (c.ordinal + 1) || ' of the run failed: ' || coalesce(c.error_detail, '')
from overlay c
where c.run_no = %(run_no)s and c.shard_no = %(shard_no)s and c.status = 'failed'
  and o.canonical_run_no = c.run_no and o.canonical_block_no = c.block_no and o.verdict = 'reuse'
  and o.run_no = c.run_no and o.status = 'pending'
