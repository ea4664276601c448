-- The turns of a pack's conversation in their order, with what each was billed.
select t.carry, t.tool_calls, t.told, t.latency_ms + coalesce(t.tools_ms, 0) as spent_ms, r.stop, r.text, r.refusal,
  l.usd, l.kind, l.request_id, l.input_uncached, l.cache_write_5m, l.cache_write_1h, l.cache_read, l.output
from turn t join response r using (call_no) join ledger l using (call_no)
where t.pack_no = %(pack_no)s
order by t.call_no
