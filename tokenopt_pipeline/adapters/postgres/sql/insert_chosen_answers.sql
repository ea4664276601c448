-- Blocks whose output is an earlier answer after all.
insert into chosen_answer (run_no, block_no, call_no, reason, chosen_at)
select %(run_no)s, f.block_no, f.call_no, f.reason, %(now)s
from jsonb_to_recordset(%(chosen)s::jsonb) as f (block_no bigint, call_no bigint, reason text)
