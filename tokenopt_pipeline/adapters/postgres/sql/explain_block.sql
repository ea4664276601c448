-- A block of a run: what it is, what was decided, what became of it.
select d.document_id, b.block_index, b.block_no, b.block_type, b.n_tokens, b.locator, b.text,
  (select string_agg(c.source_name, ', ' order by c.source_name) from collection_document c
   where c.document_no = d.document_no and c.collection_no = r.collection_no) as source_names,
  rd.first_ordinal + b.block_index as ordinal, s.shard_no, coalesce(o.status, 'pending') as status,
  case when o.status = 'skipped' then o.rule_id end as rule_id, o.error_class, o.error_detail, o.staged, o.confirmed,
  coalesce(o.revision, 0) as revision,
  r.answer_recipe::text as answer_recipe,
  (select x.reason from chosen_answer x where x.run_no = o.run_no and x.block_no = o.block_no) as chosen_because,
  o.verdict, o.rule_id as decision_rule, o.evidence,
  cr.run_id as canonical_run, cd.document_id || ':' || cb.block_index as canonical_block
from run r
join run_document rd using (run_no)
join document d using (document_no)
join block b using (document_no)
join shard s on s.run_no = r.run_no and s.first_ordinal <= rd.first_ordinal + b.block_index
  and s.end_ordinal > rd.first_ordinal + b.block_index
left join overlay o on o.run_no = r.run_no and o.block_no = b.block_no
left join run cr on cr.run_no = o.canonical_run_no
left join block cb on cb.block_no = o.canonical_block_no
left join document cd on cd.document_no = cb.document_no
where r.run_no = %(run_no)s and d.document_id = %(document_id)s and b.block_index = %(block_index)s
