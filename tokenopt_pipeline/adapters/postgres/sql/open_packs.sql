-- Packs of the shard that are asked in sync mode and have no answer, in the order they were planned.
select p.*, (select count(*) from call c where c.pack_no = p.pack_no) as tries
from pack p
where p.run_no = %(run_no)s and p.shard_no = %(shard_no)s and p.state = 'open' and p.mode = 'sync'
order by p.pack_no
