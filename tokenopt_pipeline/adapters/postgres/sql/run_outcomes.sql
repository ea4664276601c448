-- Blocks of the run by status, the reused ones apart.
select status, reused_run_no is not null as is_reused, count(*) as n
from overlay where run_no = %(run_no)s group by 1, 2
