-- The first line of every asked request that has none yet.
insert into batch_result (batch_no, custom_id, line, is_simulated, imported_at)
select distinct on (i.custom_id) q.batch_no, i.custom_id, i.line, %(is_simulated)s, %(now)s
from incoming_result i join batch_request q on q.batch_no = %(batch_no)s and q.custom_id = i.custom_id
where i.line is not null
order by i.custom_id, i.position
on conflict (batch_no, custom_id) do nothing
