-- Packs of the shard without an answer, in the order they were planned.
select p.*, (select count(*) from call c where c.pack_no = p.pack_no) as tries
from pack p
where p.run_no = %(run_no)s and p.shard_no = %(shard_no)s and p.state = 'open'
order by p.pack_no
