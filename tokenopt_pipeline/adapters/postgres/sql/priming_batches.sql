-- Batches of the run that go first for others and that their provider may have had.
select b.shard_no, b.primes, b.state <> 'closed' as is_open, b.ended_at,
  exists (select from batch_request q join ledger l using (call_no)
          where q.batch_no = b.batch_no and l.cache_write_1h + l.cache_write_5m + l.cache_read > 0) as has_kept
from batch b
where b.run_no = %(run_no)s and b.primes is not null and b.outcome is distinct from 'unborn'
order by b.batch_no
