-- pending → skipped, for the blocks a rule skips.
update overlay o set status = 'skipped', rule_id = d.rule_id, revision = o.revision + 1
from skip_decision d
where d.run_no = o.run_no and d.block_no = o.block_no and d.verdict = 'skip'
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
