-- Packs of a run, or of one shard, that ask another model or something else than was planned first, with their dollars; these are
-- null where a call has no known price.
select p.asks, p.cause, p.tier, p.obstacle, count(*) as packs, coalesce(sum(b.n), 0)::bigint as blocks,
  case when bool_or(l.unpriced) then null else coalesce(sum(l.usd), 0) end as usd
from pack p
left join lateral (select count(*) as n from pack_block x where x.pack_no = p.pack_no) b on true
left join lateral (
  select sum(y.usd) as usd, bool_or(y.usd is null) as unpriced
  from call c join ledger y using (call_no) where c.pack_no = p.pack_no
) l on true
where p.run_no = %(run_no)s and (%(shard_no)s::int is null or p.shard_no = %(shard_no)s)
  and (p.cause not in ('planned', 'split') or p.asks <> 'answer' or p.hops > 0 or p.tier <> p.first_tier)
group by 1, 2, 3, 4 order by 1, 2, 3, 4
