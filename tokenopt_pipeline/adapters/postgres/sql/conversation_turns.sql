-- The turns of a pack's conversation in their order, with what each was billed and how long it took; hours in a batch do not count.
select t.call_no, t.carry, t.tool_calls, t.told,
  case when l.mode = 'sync' then t.latency_ms else 0 end + coalesce(t.tools_ms, 0) as spent_ms, r.stop, r.text, r.refusal,
  l.usd, l.kind, l.request_id, l.input_uncached, l.cache_write_5m, l.cache_write_1h, l.cache_read, l.output
from turn t join response r using (call_no) join ledger l using (call_no)
where t.pack_no = %(pack_no)s
order by t.call_no
