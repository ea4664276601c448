-- ai_complete → confirmed, as the model answered; the blocks named, or all. One review each.
with confirmed as (
  update overlay o set status = 'confirmed', confirmed = o.staged, revision = o.revision + 1
  where o.run_no = %(run_no)s and o.status = 'ai_complete' and (%(block_nos)s::bigint[] is null or o.block_no = any(%(block_nos)s))
  returning o.run_no, o.block_no, o.staged
)
insert into review (run_no, block_no, verdict, reviewer, reviewed_at, note, old_answer, new_answer)
select run_no, block_no, 'confirmed', %(reviewer)s, %(now)s, %(note)s, staged, staged from confirmed
