-- How far the run is.
select (select count(*) from overlay where run_no = %(run_no)s and status in ('skipped', 'ai_complete', 'failed', 'confirmed')) as ended,
  (select count(*) from model_output where run_no = %(run_no)s and is_last)
    + (select count(*) from chosen_answer where run_no = %(run_no)s) as answered,
  (select count(*) from ledger where run_no = %(run_no)s) as calls,
  (select coalesce(sum(usd), 0) from ledger where run_no = %(run_no)s) as usd
