-- What is outstanding per provider: how much, how old, what it may cost at most.
select split_part(b.model, '/', 1) as provider, b.state, count(*) as batches, sum(b.n_requests) as requests,
  sum(coalesce(b.n_done, 0)) as done, min(b.intended_at) as oldest,
  sum((select coalesce(sum(c.usd_ceiling), 0) from batch_request q join call c using (call_no) where q.batch_no = b.batch_no and c.state = 'started'))
    as usd_ceiling
from batch b where b.state <> 'closed' group by 1, 2 order by 1, 2
