-- Breaches of exactly one outcome per block: blocks with two last outputs, or with one beside a chosen answer, answered overlays whose output is not theirs,
-- and, once the run is complete, blocks without an ended overlay. Constraints make the first three impossible.
select
  (select count(*) from (select block_no from model_output where run_no = r.run_no and is_last
                         group by block_no having count(*) > 1) twice)
  + (select count(*) from chosen_answer c join model_output m on m.run_no = c.run_no and m.block_no = c.block_no and m.is_last
     where c.run_no = r.run_no)
  + (select count(*) from overlay o where o.run_no = r.run_no and o.call_no is not null and o.staged is not null
     and not exists (select from model_output m where m.call_no = o.call_no and m.block_no = o.block_no
                     and m.run_no = o.run_no and m.finding = 'valid'))
  + case when r.state = 'complete' then abs(r.n_blocks - (
      select count(*) from overlay o where o.run_no = r.run_no and o.status in ('skipped', 'ai_complete', 'failed', 'confirmed')))
    else 0 end as n
from run r where r.run_no = %(run_no)s
