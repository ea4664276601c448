-- Answered calls of the run, or of one shard of it, and the last ones before them that may have left something in a cache.
with own as (
  select l.call_no, l.run_no, l.shard_no, c.started_at
  from ledger l join call c using (call_no)
  where l.run_no = %(run_no)s and (%(shard_no)s::int is null or l.shard_no = %(shard_no)s)
  order by c.started_at desc, l.call_no desc limit %(most)s
), chosen as (
  select call_no, true as is_own from own
  union all
  (select c.call_no, false from call c
   where c.state in ('answered', 'continued') and c.started_at < (select min(started_at) from own)
   order by c.started_at desc limit 50)
)
select l.call_no, h.is_own, l.model, l.prefix, p.cache_ttl, p.cache_reason, c.started_at, c.ended_at, l.prefix_tokens, l.cache_read,
  l.cache_write_5m + l.cache_write_1h as cache_write
from chosen h join ledger l using (call_no) join call c using (call_no) join pack p using (pack_no)
where l.kind = %(kind)s
