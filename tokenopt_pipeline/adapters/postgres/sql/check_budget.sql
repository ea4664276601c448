-- What the whole run has spent, and its budget.
select r.budget_usd,
  coalesce((select sum(usd) from ledger l where l.run_no = r.run_no), 0)
  + coalesce((select sum(coalesce(usd, usd_ceiling)) from kept_prefix k where k.run_no = r.run_no), 0)
  + coalesce((select sum(coalesce(usd, usd_ceiling)) from embedding_use u
              where u.run_no = r.run_no and u.state <> 'refused'), 0) as spent_usd
from run r where r.run_no = %(run_no)s
