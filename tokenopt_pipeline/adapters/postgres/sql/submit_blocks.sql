-- pending → submitted, for the blocks that are in a live pack.
update overlay o set status = 'submitted', revision = o.revision + 1
from pack_block p
where p.run_no = o.run_no and p.block_no = o.block_no and p.is_live
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
