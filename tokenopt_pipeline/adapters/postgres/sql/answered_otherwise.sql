-- Runs that have answered today's blocks of a collection under another recipe, and how many that have no answer under this one;
-- the newest first.
select r.run_id, r.kind, coalesce(r.schema_ref, s.ref) as schema_ref, r.schema_hash,
  coalesce(r.policy -> 'packing' ->> 'output_form', 'plain') as form, r.policy -> 'routing' ->> 'models' as models,
  r.answer_recipe::text as recipe, count(distinct (b.block_type, b.content_hash))::int as blocks
from collection_document c
join collection using (collection_no)
join block b using (document_no)
join block same on same.content_hash = b.content_hash and same.block_type = b.block_type
join overlay o on o.block_no = same.block_no and o.status in ('ai_complete', 'confirmed') and o.call_no is not null
join run r using (run_no)
join extraction_schema s using (schema_hash)
where collection.name = %(collection)s and c.superseded_at is null and r.answer_recipe <> %(recipe)s::uuid
  and not exists (
    select from overlay k where k.status in ('ai_complete', 'confirmed') and (k.call_no is not null or k.status = 'confirmed')
      and k.answer_key =
        encode(substring(sha256(convert_to(%(recipe)s::uuid || b.block_type || b.content_hash, 'UTF8')) for 16), 'hex')::uuid
  )
group by r.run_no, r.run_id, r.kind, schema_ref, s.ref, r.schema_hash, r.policy, r.answer_recipe
order by r.run_no desc limit 20
