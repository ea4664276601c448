-- What the whole run has spent, and its budget.
select r.budget_usd, coalesce(sum(l.usd), 0) as spent_usd
from run r left join ledger l using (run_no) where r.run_no = %(run_no)s group by r.budget_usd
