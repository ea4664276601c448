-- Requests of the batch that have a line and whose calls are under way, with their packs.
select q.call_no, s.line, s.is_simulated, p.*, (select count(*) from call c where c.pack_no = p.pack_no) as tries
from batch_request q
join call c on c.call_no = q.call_no and c.state = 'started'
join pack p on p.pack_no = q.pack_no
join batch_result s on s.batch_no = q.batch_no and s.custom_id = q.custom_id
where q.batch_no = %(batch_no)s and q.call_no > %(after)s
order by q.call_no limit %(most)s
