-- The findings of one call, one per block of its pack.
insert into model_output (call_no, position, run_no, block_no, finding, answer, detail, is_last, doubts, verdict, answer_tokens)
select %(call_no)s, f.position, %(run_no)s, f.block_no, f.finding, f.answer, f.detail, f.is_last, f.doubts, f.verdict,
  f.answer_tokens
from jsonb_to_recordset(%(findings)s::jsonb)
  as f (position int, block_no bigint, finding text, answer jsonb, detail text, is_last boolean, doubts jsonb, verdict text,
        answer_tokens int)
