-- Stores one decision for every undecided block of the shard: the verdict on its facts, or, for a block that would be
-- kept, reuse of an identical block that was answered in another run (one that a person confirmed goes first) or stands
-- earlier in this run. Whether that one is in this shard, and whether its shard was enrolled yet, makes no difference: which
-- blocks are asked does not depend on the order in which shards are taken.
-- Windows and an index look-up per block instead of joins between CTEs: those have no statistics, and a planner that
-- guesses one row turns a hundred thousand blocks into ten billion comparisons.
with verdict as (
  select * from jsonb_to_recordset(%(verdicts)s::jsonb)
    as v (block_type text, is_blank boolean, words int, verdict text, rule_id text, evidence text)
), judged as (
  select o.block_no, o.ordinal, o.answer_key, b.block_type, b.content_hash, s.first_ordinal, v.verdict, v.rule_id, v.evidence,
    first_value(o.block_no) over identical as earliest_block_no, first_value(o.ordinal) over identical as earliest_ordinal
  from overlay o
  join shard s using (run_no, shard_no)
  join block b using (block_no)
  join verdict v on v.block_type = b.block_type and v.is_blank = b.is_blank and v.words = least(b.n_words, %(words_cap)s)
  where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s and o.status = 'pending'
    and not exists (select from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no)
  window identical as (partition by o.answer_key, v.verdict order by o.ordinal)
), known as (
  select j.block_no, j.verdict, j.rule_id, j.evidence,
    coalesce(e.block_no, j.earliest_block_no) as earliest_block_no, coalesce(e.ordinal, j.earliest_ordinal) as earliest_ordinal,
    a.run_no as answered_run_no, a.block_no as answered_block_no, a.run_id as answered_run_id,
    %(reuse)s and j.verdict = 'keep'
      and (a.block_no is not null or e.block_no is not null or j.earliest_block_no <> j.block_no) as is_reused
  from judged j
  left join lateral (
    select e.block_no, e.ordinal from repeated_block e
    where e.run_no = %(run_no)s and e.content_hash = j.content_hash and e.block_type = j.block_type
      and e.ordinal < j.first_ordinal
    limit 1
  ) e on true
  left join lateral (
    select x.run_no, x.block_no, r.run_id
    from overlay x join run r using (run_no)
    where x.answer_key = j.answer_key and x.run_no <> %(run_no)s and x.status in ('ai_complete', 'confirmed') and (x.call_no is not null or x.status = 'confirmed')
    order by x.status = 'confirmed' desc, x.run_no, x.block_no
    limit 1
  ) a on %(reuse)s and j.verdict = 'keep'
)
insert into skip_decision (run_no, block_no, shard_no, verdict, rule_id, evidence, canonical_run_no, canonical_block_no)
select %(run_no)s, block_no, %(shard_no)s,
  case when is_reused then 'reuse' else verdict end,
  case when not is_reused then rule_id when answered_block_no is not null then 'answered_before' else 'same_as_earlier_block' end,
  case when not is_reused then evidence
       when answered_block_no is not null then 'An identical block was answered in run ' || answered_run_id || '.'
       else 'The block repeats block ' || (earliest_ordinal + 1) || ' of the run.' end,
  case when is_reused then coalesce(answered_run_no, %(run_no)s) end,
  case when is_reused then coalesce(answered_block_no, earliest_block_no) end
from known
on conflict (run_no, block_no) do nothing
