-- Tokens and dollars of the run; dollars are null when a call has no known price.
select count(*) as calls,
  coalesce(sum(input_uncached), 0) as input_uncached, coalesce(sum(cache_write_5m), 0) as cache_write_5m,
  coalesce(sum(cache_write_1h), 0) as cache_write_1h, coalesce(sum(cache_read), 0) as cache_read,
  coalesce(sum(output), 0) as output,
  case when bool_or(usd is null) then null else coalesce(sum(usd), 0) end as usd
from ledger where run_no = %(run_no)s
