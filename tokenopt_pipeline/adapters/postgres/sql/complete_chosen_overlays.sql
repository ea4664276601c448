-- submitted → ai_complete, for the blocks whose output is an earlier answer after all.
update overlay o set status = 'ai_complete', staged = m.answer, call_no = m.call_no, revision = o.revision + 1
from chosen_answer c join model_output m on m.call_no = c.call_no and m.block_no = c.block_no and m.finding = 'valid'
where c.run_no = o.run_no and c.block_no = o.block_no
  and o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'submitted'
