-- Every answer that these runs gave to a block which one of them has confirmed, with the block's share of what was paid to its
-- tier for answers; what other tiers, first passes and second opinions were paid is not the tier's.
select r.run_id, d.document_id, b.block_index, b.block_type, b.n_tokens, b.language, b.text, p.tier, p.model,
  o.staged, o.confirmed,
  (select sum(l.usd / l.pack_blocks) filter (where l.usd is not null)
   from pack_block x join pack q on q.pack_no = x.pack_no and q.asks = 'answer' and q.tier = p.tier
   join call y on y.pack_no = x.pack_no join ledger l on l.call_no = y.call_no
   where x.run_no = o.run_no and x.block_no = o.block_no) as usd
from overlay o
join run r using (run_no)
join block b using (block_no)
join document d using (document_no)
join call c using (call_no)
join pack p using (pack_no)
where o.run_no = any(%(run_nos)s) and o.staged is not null
  and exists (
    select from overlay g where g.run_no = any(%(run_nos)s) and g.block_no = o.block_no and g.status = 'confirmed'
  )
order by r.run_no, o.ordinal
