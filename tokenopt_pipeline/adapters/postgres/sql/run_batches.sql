-- Batches of the run that a provider had, and how many of them and of their requests are outstanding.
select count(*) filter (where batch_id is not null) as batches, count(*) filter (where state in ('intended', 'submitted')) as under_way,
  count(*) filter (where state <> 'closed') as outstanding,
  coalesce(sum(n_requests) filter (where state <> 'closed'), 0) as requests_outstanding
from batch where run_no = %(run_no)s
