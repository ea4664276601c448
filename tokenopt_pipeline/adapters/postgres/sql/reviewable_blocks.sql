-- Blocks of a run in these states, in document order, with what stands for them and who answered.
select d.document_id || ':' || b.block_index as block_uid, o.block_no, b.block_type, b.text, o.status, o.error_class, o.error_detail,
  coalesce(o.confirmed, o.staged) as answer, p.tier, p.model
from overlay o
join block b using (block_no)
join document d using (document_no)
left join call c on c.call_no = o.call_no
left join pack p on p.pack_no = c.pack_no
where o.run_no = %(run_no)s and o.status = any(%(statuses)s)
order by o.ordinal
