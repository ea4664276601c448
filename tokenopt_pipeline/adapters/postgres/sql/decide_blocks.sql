-- Stores one decision for every undecided block of the shard: the verdict on its facts, or, for a block that would be
-- kept, reuse of an identical block that was answered in any run or stands earlier in the shard.
with verdict as (
  select * from jsonb_to_recordset(%(verdicts)s::jsonb)
    as v (block_type text, is_blank boolean, words int, verdict text, rule_id text, evidence text)
), judged as materialized (
  select o.block_no, o.ordinal, o.answer_key, v.verdict, v.rule_id, v.evidence
  from overlay o
  join block b using (block_no)
  join verdict v on v.block_type = b.block_type and v.is_blank = b.is_blank and v.words = least(b.n_words, %(words_cap)s)
  where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
    and not exists (select from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no)
), answered as materialized (
  select distinct on (a.answer_key) a.answer_key, a.run_no, a.block_no
  from judged j join overlay a on a.answer_key = j.answer_key
  where %(reuse)s and j.verdict = 'keep' and a.status in ('ai_complete', 'confirmed') and a.call_no is not null
  order by a.answer_key, a.run_no, a.block_no
), earliest as materialized (
  select distinct on (answer_key) answer_key, block_no, ordinal
  from judged where %(reuse)s and verdict = 'keep'
  order by answer_key, ordinal
)
insert into skip_decision (run_no, block_no, shard_no, verdict, rule_id, evidence, canonical_run_no, canonical_block_no)
select %(run_no)s, j.block_no, %(shard_no)s,
  case when j.verdict = 'keep' and (a.block_no is not null or e.block_no <> j.block_no) then 'reuse' else j.verdict end,
  case when j.verdict = 'keep' and a.block_no is not null then 'answered_before'
       when j.verdict = 'keep' and e.block_no <> j.block_no then 'same_as_earlier_block'
       else j.rule_id end,
  case when j.verdict = 'keep' and a.block_no is not null
         then 'An identical block was answered in run ' || r.run_id || '.'
       when j.verdict = 'keep' and e.block_no <> j.block_no
         then 'The block repeats block ' || (e.ordinal + 1) || ' of the run.'
       else j.evidence end,
  case when j.verdict = 'keep' and a.block_no is not null then a.run_no
       when j.verdict = 'keep' and e.block_no <> j.block_no then %(run_no)s end,
  case when j.verdict = 'keep' and a.block_no is not null then a.block_no
       when j.verdict = 'keep' and e.block_no <> j.block_no then e.block_no end
from judged j
left join answered a on a.answer_key = j.answer_key and j.verdict = 'keep'
left join run r on r.run_no = a.run_no
left join earliest e on e.answer_key = j.answer_key and j.verdict = 'keep'
on conflict (run_no, block_no) do nothing
