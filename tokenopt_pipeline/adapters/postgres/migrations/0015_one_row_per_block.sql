-- What was decided about a block stands in its overlay, which is written once when it is decided, and no index is about what
-- changes later; what foreign keys looked up row by row is looked up once per statement.

-- Overlays about which nothing was decided say nothing. Their blocks are decided about when their run goes on.
delete from overlay o where o.status = 'pending'
  and not exists (select from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no);

drop index overlay_by_shard;
drop index answered_overlay_by_key;
alter table overlay
  drop constraint a_skipped_overlay_has_a_rule,
  drop constraint one_block_per_ordinal,
  drop constraint an_overlay_belongs_to_a_shard,
  drop constraint overlay_block_no_fkey,
  add column verdict text,
  add column evidence text,
  add column canonical_run_no int,
  add column canonical_block_no bigint;
update overlay o set verdict = d.verdict, rule_id = d.rule_id, evidence = d.evidence,
  canonical_run_no = d.canonical_run_no, canonical_block_no = d.canonical_block_no
from skip_decision d where d.run_no = o.run_no and d.block_no = o.block_no;
drop table skip_decision;

alter table overlay
  alter column verdict set not null,
  alter column rule_id set not null,
  alter column evidence set not null,
  add constraint verdict_is_known check (verdict in ('keep', 'skip', 'reuse')),
  add constraint a_decision_says_what_it_saw check (evidence <> ''),
  add constraint only_a_skip_is_skipped check ((verdict = 'skip') = (status = 'skipped')),
  add constraint reuse_names_its_canonical_block
    check ((verdict = 'reuse') = (canonical_run_no is not null and canonical_block_no is not null)),
  add constraint one_block_per_ordinal unique (run_no, shard_no, ordinal),
  -- Every kept row is changed in place once, when its block is packed: room for that stands beside it.
  set (fillfactor = 55);
create index reuse_by_canonical_block on overlay (canonical_run_no, canonical_block_no) where verdict = 'reuse';
-- By its values and not by its status, which changes more often: a change that no index is about stays in its page.
create index answered_overlay_by_key on overlay (answer_key) where staged is not null or confirmed is not null;

-- Shards of a run share no ordinal, so that one ordinal per shard is one per run.
create unique index shard_by_ordinal on shard (run_no, first_ordinal);
create function refuse_shared_ordinals() returns trigger language plpgsql as $$
begin
  if (select s.shard_no <> new.shard_no and s.end_ordinal > new.first_ordinal from shard s
      where s.run_no = new.run_no and s.first_ordinal < new.end_ordinal and s.shard_no <> new.shard_no
      order by s.first_ordinal desc limit 1) then
    raise exception 'shard % of run number % has ordinals of another one', new.shard_no, new.run_no
      using errcode = 'check_violation', constraint = 'shards_share_no_ordinal';
  end if;
  return new;
end $$;
create trigger shards_share_no_ordinal before insert or update on shard for each row execute function refuse_shared_ordinals();

-- Foreign keys for whole statements. A row at a time they take longer than the rows they are about, and lock each row they
-- find, which writes to every page of every block of a run. That what was found stays there is said by the triggers below.
create function refuse_overlays_out_of_place() returns trigger language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  stray bigint;
begin
  select o.block_no into stray
  from added o
  left join block b on b.block_no = o.block_no
  left join run_document d on d.run_no = o.run_no and d.document_no = b.document_no
    and d.first_ordinal + b.block_index = o.ordinal
  left join shard s on s.run_no = o.run_no and s.shard_no = o.shard_no
    and s.first_ordinal <= o.ordinal and s.end_ordinal > o.ordinal
  where d.run_no is null or s.run_no is null
  limit 1;
  if found then
    raise exception 'overlay of block %: this is not where the block stands in the run', stray
      using errcode = 'foreign_key_violation', constraint = 'an_overlay_belongs_to_a_shard';
  end if;
  if exists (select from added o where o.status not in ('pending', 'skipped')) then
    raise exception 'an overlay begins pending or skipped'
      using errcode = 'check_violation', constraint = 'an_overlay_begins_pending_or_skipped';
  end if;
  return null;
end $$;
create trigger an_overlay_belongs_to_a_shard after insert on overlay referencing new table as added
  for each statement execute function refuse_overlays_out_of_place();

alter table pack_block
  drop constraint pack_block_pack_no_fkey,
  drop constraint a_packed_block_is_enrolled;
create function refuse_strays_in_packs() returns trigger language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  stray bigint;
begin
  select p.block_no into stray
  from added p
  left join pack on pack.pack_no = p.pack_no and pack.run_no = p.run_no
  left join overlay o on o.run_no = p.run_no and o.block_no = p.block_no
  where pack.pack_no is null or o.block_no is null
  limit 1;
  if found then
    raise exception 'block % has no overlay in the run of its pack', stray
      using errcode = 'foreign_key_violation', constraint = 'a_packed_block_is_enrolled';
  end if;
  return null;
end $$;
create trigger a_packed_block_is_enrolled after insert on pack_block referencing new table as added
  for each statement execute function refuse_strays_in_packs();
-- One index instead of two: a block's packs, of which one is live.
drop index one_live_pack_per_block;
drop index pack_block_by_block;
create unique index one_live_pack_per_block on pack_block (run_no, block_no, (case when is_live then 0 else pack_no end));

-- What others point to is never taken away, and what it is never becomes something else.
create function refuse_taking_away() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % stay', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger block_stays before delete on block for each row execute function refuse_taking_away();
create trigger block_is_never_emptied before truncate on block for each statement execute function refuse_taking_away();
create trigger overlay_stays before delete on overlay for each row execute function refuse_taking_away();
create trigger overlay_is_never_emptied before truncate on overlay for each statement execute function refuse_taking_away();
create trigger pack_stays before delete on pack for each row execute function refuse_taking_away();
create trigger pack_is_never_emptied before truncate on pack for each statement execute function refuse_taking_away();

create function refuse_another_subject() returns trigger language plpgsql as $$
begin
  raise exception 'what a row of % is about never changes', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger a_block_stays_in_its_place before update of block_no, document_no, block_index on block
  for each row execute function refuse_another_subject();
create trigger an_overlay_stays_as_decided
  before update of run_no, block_no, shard_no, ordinal, answer_key, verdict, rule_id, evidence, canonical_run_no, canonical_block_no
  on overlay for each row execute function refuse_another_subject();
create trigger a_packed_block_stays_in_its_pack before update of pack_no, position, run_no, block_no on pack_block
  for each row execute function refuse_another_subject();
create trigger a_pack_stays_in_its_shard before update of pack_no, run_no, shard_no on pack
  for each row execute function refuse_another_subject();

drop trigger overlay_moves_forward on overlay;
create trigger overlay_moves_forward before update of status on overlay
  for each row when (old.status <> new.status) execute function refuse_illegal_transition();
