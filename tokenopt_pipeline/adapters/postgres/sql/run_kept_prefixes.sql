-- Prefixes that were kept for the run, and their dollars; null when one has no known price. One whose making was lost in a
-- crash may have been billed and counts at its ceiling.
select count(*) filter (where state <> 'failed') as kept,
  case when bool_or(state in ('living', 'ended') and name is not null and usd is null) then null
       else coalesce(sum(coalesce(usd, usd_ceiling)), 0) end as usd
from kept_prefix where run_no = %(run_no)s
