-- What calls of this schema on this model were billed, beside what they were sized with; of one kind only.
select count(*) as calls, coalesce(sum(l.input_uncached + l.cache_write_5m + l.cache_write_1h + l.cache_read), 0) as input,
  coalesce(sum(l.assumed_input), 0) as assumed_input, coalesce(sum(l.output) filter (where l.pack_blocks > 0), 0) as output,
  coalesce(sum(l.pack_blocks), 0) as blocks
from ledger l join run r using (run_no) join call c using (call_no) join pack p on p.pack_no = c.pack_no and p.asks = 'answer'
where r.schema_hash = %(schema_hash)s and l.kind = %(kind)s and l.model = %(model)s
