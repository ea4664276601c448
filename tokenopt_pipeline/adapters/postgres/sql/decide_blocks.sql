-- Gives every undecided block of the shard its overlay with what was decided: the verdict on its facts, or, for a block that
-- would be kept, reuse of an identical block that was answered in another run (one that a person confirmed goes first) or
-- stands earlier in this run. Whether that one is in this shard, and whether its shard was decided yet, makes no difference:
-- which blocks are asked does not depend on the order in which shards are taken.
-- Windows and an index look-up per block instead of joins between CTEs: those have no statistics, and a planner that
-- guesses one row turns a hundred thousand blocks into ten billion comparisons.
with verdict as (
  select * from jsonb_to_recordset(%(verdicts)s::jsonb)
    as v (block_type text, is_blank boolean, words int, verdict text, rule_id text, evidence text)
), undecided as (
  select b.block_no, d.first_ordinal + b.block_index as ordinal, b.block_type, b.content_hash, d.shard_first_ordinal,
    v.verdict, v.rule_id, v.evidence,
    encode(substring(sha256(convert_to(r.answer_recipe || b.block_type || b.content_hash, 'UTF8')) for 16), 'hex')::uuid as answer_key
  from shard_document d
  join run r using (run_no)
  join block b on b.document_no = d.document_no and b.block_index >= d.from_index and b.block_index < d.end_index
  join verdict v on v.block_type = b.block_type and v.is_blank = b.is_blank and v.words = least(b.n_words, %(words_cap)s)
  where d.run_no = %(run_no)s and d.shard_no = %(shard_no)s
    and b.block_no not in (select o.block_no from overlay o where o.run_no = %(run_no)s and o.shard_no = %(shard_no)s)
), judged as (
  select *, %(reuse)s and verdict = 'keep' as may_be_reused,
    first_value(block_no) over identical as earliest_block_no, first_value(ordinal) over identical as earliest_ordinal
  from undecided
  window identical as (partition by answer_key, verdict order by ordinal)
), known as (
  select j.*,
    coalesce(e.block_no, j.earliest_block_no) as first_block_no, coalesce(e.ordinal, j.earliest_ordinal) as first_block_ordinal,
    a.run_no as answered_run_no, a.block_no as answered_block_no,
    j.may_be_reused
      and (a.block_no is not null or e.block_no is not null or j.earliest_block_no <> j.block_no) as is_reused
  from judged j
  left join lateral (
    select e.block_no, e.ordinal from repeated_block e
    where j.may_be_reused and e.run_no = %(run_no)s and e.content_hash = j.content_hash and e.block_type = j.block_type
      and e.ordinal < j.shard_first_ordinal
    limit 1
  ) e on true
  left join lateral (
    select x.run_no, x.block_no
    from overlay x
    where j.may_be_reused and x.answer_key = j.answer_key and (x.staged is not null or x.confirmed is not null) and x.run_no <> %(run_no)s
      and x.status in ('ai_complete', 'confirmed') and (x.call_no is not null or x.status = 'confirmed')
    order by x.status = 'confirmed' desc, x.run_no, x.block_no
    limit 1
  ) a on true
)
insert into overlay (run_no, block_no, shard_no, ordinal, answer_key, status, verdict, rule_id, evidence, canonical_run_no, canonical_block_no)
select %(run_no)s, block_no, %(shard_no)s, ordinal, answer_key,
  case when verdict = 'skip' then 'skipped' else 'pending' end,
  case when is_reused then 'reuse' else verdict end,
  case when not is_reused then rule_id when answered_block_no is not null then 'answered_before' else 'same_as_earlier_block' end,
  case when not is_reused then evidence
       when answered_block_no is not null then 'An identical block was answered in run ' || (select run_id from run where run_no = answered_run_no) || '.'
       else 'The block repeats block ' || (first_block_ordinal + 1) || ' of the run.' end,
  case when is_reused then coalesce(answered_run_no, %(run_no)s) end,
  case when is_reused then coalesce(answered_block_no, first_block_no) end
from known
order by ordinal
-- Whichever of its unique keys another session was first with: both say that it is the same block.
on conflict do nothing
