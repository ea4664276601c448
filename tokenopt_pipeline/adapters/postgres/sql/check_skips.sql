-- Skipped overlays of the shard, those among them whose decision is another one or says nothing, and skips that were not applied.
select count(*) filter (where status = 'skipped') as skipped,
  count(*) filter (where status = 'skipped' and (verdict <> 'skip' or rule_id = '' or evidence = '')) as unexplained,
  count(*) filter (where verdict = 'skip' and status <> 'skipped') as unapplied
from overlay where run_no = %(run_no)s and shard_no = %(shard_no)s
