-- pending → failed, for the blocks whose identical block has failed.
update overlay o set status = 'failed', error_class = c.error_class, revision = o.revision + 1,
  error_detail = 'the identical block ' || (c.ordinal + 1) || ' of the run failed: ' || coalesce(c.error_detail, '')
from overlay c
where c.run_no = o.canonical_run_no and c.block_no = o.canonical_block_no and c.status = 'failed'
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.verdict = 'reuse' and o.status = 'pending'
