-- Skipped overlays of the shard, and those among them without a stored decision of the same rule and with evidence.
select count(*) as skipped,
  count(*) filter (where d.block_no is null or d.verdict <> 'skip' or d.rule_id <> o.rule_id or d.evidence = '') as unexplained,
  (select count(*) from skip_decision x left join overlay y on y.run_no = x.run_no and y.block_no = x.block_no
   where x.run_no = %(run_no)s and x.shard_no = %(shard_no)s and x.verdict = 'skip' and y.status is distinct from 'skipped') as unapplied
from overlay o left join skip_decision d on d.run_no = o.run_no and d.block_no = o.block_no
where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'skipped'
