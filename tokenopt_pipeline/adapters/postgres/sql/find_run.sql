-- A run with its schema, by id or by the digest of its inputs while it is open.
select r.*, c.name as collection, s.source as schema_source, coalesce(r.schema_ref, s.ref) as ref, s.prompt_tokens
from run r join collection c using (collection_no) join extraction_schema s using (schema_hash)
where r.run_id = %(run_id)s or (r.inputs_digest = %(inputs_digest)s and r.state = 'open')
