-- ai_complete, failed or confirmed → confirmed, with a person's values. A rejected answer of the model's is staged again.
with before as (
  select o.run_no, o.block_no, coalesce(o.confirmed, o.staged) as answer,
    coalesce(o.staged, (select m.answer from model_output m
                        where m.call_no = o.call_no and m.block_no = o.block_no and m.run_no = o.run_no)) as staged
  from overlay o
  where o.run_no = %(run_no)s and o.block_no = %(block_no)s and o.status in ('ai_complete', 'failed', 'confirmed')
  for update
), corrected as (
  update overlay o set status = 'confirmed', confirmed = %(answer)s, staged = b.staged, error_class = null, error_detail = null,
    revision = o.revision + 1
  from before b where o.run_no = b.run_no and o.block_no = b.block_no
  returning o.run_no, o.block_no
)
insert into review (run_no, block_no, verdict, reviewer, reviewed_at, note, old_answer, new_answer)
select run_no, block_no, 'corrected', %(reviewer)s, %(now)s, %(note)s, b.answer, %(answer)s
from corrected join before b using (run_no, block_no)
