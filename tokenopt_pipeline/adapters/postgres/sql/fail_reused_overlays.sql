-- pending → failed, for the blocks whose identical block has failed.
update overlay o set status = 'failed', error_class = c.error_class, revision = o.revision + 1,
  error_detail = 'the identical block ' || (c.ordinal + 1) || ' of the run failed: ' || coalesce(c.error_detail, '')
from skip_decision d
join overlay c on c.run_no = d.canonical_run_no and c.block_no = d.canonical_block_no
where d.run_no = o.run_no and d.block_no = o.block_no and d.verdict = 'reuse' and c.status = 'failed'
  and d.run_no = %(run_no)s and d.shard_no = %(shard_no)s and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
