-- Tries of the run by outcome. `started`: intended, and no answer was ever stored.
select count(*) filter (where state = 'answered') as answered, count(*) filter (where state = 'failed') as failed,
  count(*) filter (where state = 'started') as started
from call where run_no = %(run_no)s
