-- The run's budget and what counts against it: what was billed, and the ceiling of every call whose answer is not stored.
-- A call that was lost in a crash may have been billed, so it keeps counting.
select r.budget_usd,
  coalesce((select sum(l.usd) from ledger l where l.run_no = r.run_no), 0)
    + coalesce((select sum(c.usd_ceiling) from call c where c.run_no = r.run_no and c.state = 'started'), 0) as used_usd
from run r where r.run_no = %(run_no)s for update
