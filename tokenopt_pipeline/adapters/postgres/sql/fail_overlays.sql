-- submitted → failed, for the blocks whose last output is not valid.
update overlay o set status = 'failed', error_class = m.finding, error_detail = m.detail, call_no = m.call_no,
  revision = o.revision + 1
from model_output m
where m.run_no = o.run_no and m.block_no = o.block_no and m.is_last and m.finding <> 'valid'
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'submitted'
