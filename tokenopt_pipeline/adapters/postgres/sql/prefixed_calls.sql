-- The newest calls with a prefix: what a cache held of it, what was billed beside that, and our count of the blocks' lines.
-- Packs that carry found chunks have more beside it.
select l.cache_read + l.cache_write_5m + l.cache_write_1h as shared, l.input_uncached as rest,
  (select coalesce(sum(b.n_tokens + %(line_tokens)s), 0) from pack_block p join block b using (block_no)
   where p.pack_no = c.pack_no)::int as counted
from ledger l join call c using (call_no)
where l.model = %(model)s and l.kind = %(kind)s and l.prefix = %(prefix)s
  and not exists (select from pack_context x where x.pack_no = c.pack_no and x.kind = 'retrieved')
order by l.call_no desc limit %(most)s
