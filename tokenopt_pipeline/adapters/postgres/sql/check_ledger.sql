-- Answered calls of the shard against their ledger rows, one to one.
select count(*) filter (where c.state in ('answered', 'continued', 'superseded')) as answered, count(l.call_no) as in_ledger,
  count(*) filter (where (c.state in ('answered', 'continued', 'superseded')) <> (l.call_no is not null)
                    or (l.call_no is not null and r.call_no is null)
                    or (c.state in ('answered', 'continued')
                        and l.pack_blocks <> (select count(*) from model_output m where m.call_no = c.call_no)))
    as mismatched,
  coalesce(sum(l.usd), 0) as usd,
  count(*) filter (where l.call_no is not null and l.usd is null) as unpriced,
  coalesce(sum(l.input_uncached + l.cache_write_5m + l.cache_write_1h + l.cache_read + l.output), 0) as tokens
from call c
join pack p using (pack_no)
left join ledger l using (call_no)
left join response r using (call_no)
where p.run_no = %(run_no)s and p.shard_no = %(shard_no)s
