-- ai_complete or confirmed → failed, so that the answer stands for nothing and is never reused. One review each.
with before as (
  select o.run_no, o.block_no, coalesce(o.confirmed, o.staged) as answer
  from overlay o
  where o.run_no = %(run_no)s and o.block_no = any(%(block_nos)s) and o.status in ('ai_complete', 'confirmed')
  for update
), rejected as (
  update overlay o set status = 'failed', error_class = 'rejected', error_detail = %(detail)s, staged = null, confirmed = null,
    revision = o.revision + 1
  from before b where o.run_no = b.run_no and o.block_no = b.block_no
  returning o.run_no, o.block_no
)
insert into review (run_no, block_no, verdict, reviewer, reviewed_at, note, old_answer)
select run_no, block_no, 'rejected', %(reviewer)s, %(now)s, %(note)s, b.answer
from rejected join before b using (run_no, block_no)
