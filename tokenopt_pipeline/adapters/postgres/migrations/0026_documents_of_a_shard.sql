-- A shard finds its documents without looking at all others of its run, and what a statement adds is looked up once for each
-- document and shard it is about.

create index run_document_by_ordinal on run_document (run_no, first_ordinal);

-- Documents that may have blocks in a shard, and which of their blocks: from `from_index` up to `end_index`, which it excludes.
-- The first of them is the last that begins at or before the shard; one without blocks begins where the next does.
-- `offset 0` keeps the planner from beginning with the documents.
create view shard_document as
select s.run_no, s.shard_no, s.first_ordinal as shard_first_ordinal, d.document_no, d.first_ordinal,
  greatest(s.first_ordinal - d.first_ordinal, 0) as from_index, s.end_ordinal - d.first_ordinal as end_index
from shard s, lateral (
  select rd.document_no, rd.first_ordinal from run_document rd
  where rd.run_no = s.run_no and rd.first_ordinal < s.end_ordinal
    and rd.first_ordinal >= (select max(x.first_ordinal) from run_document x
                             where x.run_no = s.run_no and x.first_ordinal <= s.first_ordinal)
  offset 0
) d;

-- Blocks of one document stand in their places when all are equally far from their ordinals, as far as the document begins.
create or replace function refuse_overlays_out_of_place() returns trigger language plpgsql
  set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  stray_shard int;
begin
  select p.shard_no into stray_shard
  from (
    select o.run_no, o.shard_no, b.document_no, min(o.ordinal) as first_ordinal, max(o.ordinal) as last_ordinal,
      min(o.ordinal - b.block_index) as least_distance, max(o.ordinal - b.block_index) as most_distance
    from added o
    left join block b on b.block_no = o.block_no
    group by o.run_no, o.shard_no, b.document_no
  ) p
  left join run_document d on d.run_no = p.run_no and d.document_no = p.document_no
    and d.first_ordinal = p.least_distance and d.first_ordinal = p.most_distance
  left join shard s on s.run_no = p.run_no and s.shard_no = p.shard_no
    and s.first_ordinal <= p.first_ordinal and s.end_ordinal > p.last_ordinal
  where d.run_no is null or s.run_no is null
  limit 1;
  if found then
    raise exception 'overlays of shard %: not all are of blocks that stand there in the run', stray_shard
      using errcode = 'foreign_key_violation', constraint = 'an_overlay_belongs_to_a_shard';
  end if;
  if exists (select from added o where o.status not in ('pending', 'skipped')) then
    raise exception 'an overlay begins pending or skipped'
      using errcode = 'check_violation', constraint = 'an_overlay_begins_pending_or_skipped';
  end if;
  return null;
end $$;
