-- The newest runs first.
select r.run_id, c.name as collection, coalesce(r.schema_ref, s.ref) as schema, r.state, r.kind, r.n_blocks, r.created_at
from run r join collection c using (collection_no) join extraction_schema s using (schema_hash)
order by r.run_no desc limit %(most)s
