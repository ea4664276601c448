-- pending → failed, for blocks that fit into no request.
update overlay o set status = 'failed', error_class = %(error_class)s, error_detail = r.detail, revision = o.revision + 1
from jsonb_to_recordset(%(refused)s::jsonb) as r (block_no bigint, detail text)
where o.run_no = %(run_no)s and o.block_no = r.block_no and o.status = 'pending'
