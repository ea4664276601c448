-- Milliseconds from the first request that held a block to its last answer, over the blocks that were asked; and what
-- providers took for all answers together.
select
  percentile_cont(0.5) within group (order by wait_ms)::float8 as p50_ms,
  percentile_cont(0.95) within group (order by wait_ms)::float8 as p95_ms,
  (select coalesce(sum(latency_ms), 0)::float8 from ledger where run_no = %(run_no)s) as provider_ms
from (
  select extract(epoch from max(c.ended_at) - min(c.started_at)) * 1000 as wait_ms
  from pack_block b join call c using (pack_no)
  where b.run_no = %(run_no)s and c.state <> 'started'
  group by b.block_no
) waits
