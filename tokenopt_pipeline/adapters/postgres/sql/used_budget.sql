-- What counts against the run's budget: what was billed, and the ceiling of every call whose answer is not stored.
-- A call that was lost in a crash, or whose connection broke after it was sent, may have been billed, so it keeps counting,
-- and so does a kept prefix. A statement of its
-- own, after the lock: the one that waits for the lock sees the rows as they were before it waited.
select coalesce((select sum(usd) from ledger where run_no = %(run_no)s), 0)
  + coalesce((select sum(usd_ceiling) from call where run_no = %(run_no)s
    and (state = 'started' or may_be_billed)), 0)
  + coalesce((select sum(coalesce(usd, usd_ceiling)) from kept_prefix where run_no = %(run_no)s), 0) as used_usd
