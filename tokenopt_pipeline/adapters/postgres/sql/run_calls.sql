-- Tries of the run by outcome. `started`: intended, and no answer was ever stored. `may_be_billed`: failed after it was sent.
select count(*) filter (where state in ('answered', 'continued')) as answered, count(*) filter (where state = 'failed') as failed,
  count(*) filter (where state = 'started') as started, count(*) filter (where may_be_billed) as may_be_billed
from call where run_no = %(run_no)s
