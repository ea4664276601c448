-- Batches as people see them: those that are not closed, or all of a run; the newest last.
select b.batch_no, r.run_id, b.shard_no, b.model, b.round, b.state, b.outcome, b.batch_id, b.key, b.n_requests, b.n_done,
  b.intended_at, b.submitted_at, b.ended_at, b.closed_at, b.is_adopted, b.is_unwanted, b.downloads, b.problem, b.primes,
  (select coalesce(sum(c.usd_ceiling), 0) from batch_request q join call c using (call_no)
   where q.batch_no = b.batch_no and c.state = 'started') as usd_ceiling,
  (select sum(l.usd) from batch_request q join ledger l using (call_no) where q.batch_no = b.batch_no) as usd
from batch b join run r using (run_no)
where (%(run_id)s::text is null and b.state <> 'closed') or r.run_id = %(run_id)s
order by b.batch_no
