-- The newest calls to a model with what the model table alone expected of their input, beside what was billed.
select l.table_input as expected, l.input_uncached + l.cache_write_5m + l.cache_write_1h + l.cache_read as billed
from ledger l join run r using (run_no)
where l.model = %(model)s and l.kind = %(kind)s and l.table_input is not null
  and (%(schema_hash)s::text is null or r.schema_hash = %(schema_hash)s)
order by l.call_no desc limit %(most)s
