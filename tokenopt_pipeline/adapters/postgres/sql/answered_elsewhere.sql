-- Runs that have answered a block identical to this one, and how they asked; the newest first.
select r.run_id, r.kind, coalesce(r.schema_ref, s.ref) as schema_ref, r.schema_hash,
  coalesce(r.policy -> 'packing' ->> 'output_form', 'plain') as form, r.policy -> 'routing' ->> 'models' as models,
  r.answer_recipe::text as recipe, 1 as blocks
from block mine
join block b on b.content_hash = mine.content_hash and b.block_type = mine.block_type
join overlay o on o.block_no = b.block_no and o.status in ('ai_complete', 'confirmed') and o.call_no is not null
join run r using (run_no)
join extraction_schema s using (schema_hash)
where mine.block_no = %(block_no)s and o.run_no <> %(run_no)s
group by r.run_no, r.run_id, r.kind, schema_ref, s.ref, r.schema_hash, r.policy, r.answer_recipe
order by r.run_no desc limit 20
