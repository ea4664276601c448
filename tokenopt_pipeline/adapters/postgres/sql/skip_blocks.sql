-- pending → skipped, for the blocks a rule skips. By their numbers and not by a join: tables that have just been filled have no
-- statistics, and a planner that guesses one row compares every block with every decision.
update overlay o set status = 'skipped', revision = o.revision + 1,
  rule_id = (select d.rule_id from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no)
where o.run_no = %(run_no)s and o.status = 'pending' and o.block_no = any (array(
  select d.block_no from skip_decision d where d.run_no = %(run_no)s and d.shard_no = %(shard_no)s and d.verdict = 'skip'))
