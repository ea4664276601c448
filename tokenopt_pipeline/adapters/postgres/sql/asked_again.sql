-- Packs of a run that are parts of others, what they have cost, and what everything else has. Weighted tokens where no price
-- is known.
with cost as (
  select p.cause = 'split' as is_again,
    coalesce(l.usd, (l.input_uncached + 1.25 * (l.cache_write_5m + l.cache_write_1h) + 0.1 * l.cache_read + 5 * l.output) / 1e6) as usd
  from ledger l join call c using (call_no) join pack p using (pack_no)
  where l.run_no = %(run_no)s
)
select (select count(*) from pack where run_no = %(run_no)s and cause = 'split')::int as packs,
  coalesce(sum(usd) filter (where is_again), 0) as usd, coalesce(sum(usd) filter (where not is_again), 0) as others_usd
from cost
