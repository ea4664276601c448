-- Every block of the run in document order, with its outcome.
select d.document_id, d.source_type, d.title, d.n_bytes, d.n_blocks,
  (select min(c.source_name collate "C") from collection_document c
   where c.document_no = d.document_no and c.collection_no = r.collection_no) as source_name,
  b.block_index, b.block_type, b.locator, b.text, coalesce(o.status, 'pending') as status,
  case when o.status = 'skipped' then o.rule_id end as rule_id, o.error_class,
  o.error_detail, coalesce(o.confirmed, o.staged) as answer, o.confirmed, l.model, l.kind,
  rr.run_id as reused_from_run
from run r
join run_document rd using (run_no)
join document d using (document_no)
join block b using (document_no)
left join overlay o on o.run_no = r.run_no and o.block_no = b.block_no
left join ledger l on l.call_no = o.call_no
left join run rr on rr.run_no = o.reused_run_no
where r.run_no = %(run_no)s
order by rd.first_ordinal + b.block_index
