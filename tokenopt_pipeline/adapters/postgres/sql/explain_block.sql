-- A block of a run: what it is, what was decided, what became of it.
select d.document_id, b.block_index, b.block_no, b.block_type, b.n_tokens, b.locator, b.text,
  (select string_agg(c.source_name, ', ' order by c.source_name) from collection_document c
   where c.document_no = d.document_no and c.collection_no = r.collection_no) as source_names,
  o.ordinal, o.shard_no, o.status, o.rule_id, o.error_class, o.error_detail, o.staged, o.confirmed, o.revision,
  r.answer_recipe::text as answer_recipe,
  (select x.reason from chosen_answer x where x.run_no = o.run_no and x.block_no = o.block_no) as chosen_because,
  s.verdict, s.rule_id as decision_rule, s.evidence,
  cr.run_id as canonical_run, cd.document_id || ':' || cb.block_index as canonical_block
from run r
join overlay o using (run_no)
join block b using (block_no)
join document d using (document_no)
left join skip_decision s on s.run_no = o.run_no and s.block_no = o.block_no
left join run cr on cr.run_no = s.canonical_run_no
left join block cb on cb.block_no = s.canonical_block_no
left join document cd on cd.document_no = cb.document_no
where r.run_no = %(run_no)s and d.document_id = %(document_id)s and b.block_index = %(block_index)s
