-- Identical blocks of a run are found whatever shards they are in; a call that may have been billed is known as one; a run
-- goes by the name its schema had when it was planned.

-- The first of the blocks that are alike in a run of several shards; only those that are not alone.
create table repeated_block (
  run_no int not null references run,
  content_hash uuid not null,
  block_type text not null,
  block_no bigint not null references block,
  ordinal int not null,
  primary key (run_no, content_hash, block_type)
);
create index reuse_by_canonical_block on skip_decision (canonical_run_no, canonical_block_no) where verdict = 'reuse';
-- The request was sent, and how it ended at the provider nobody knows.
alter table call add column may_be_billed boolean not null default false;
-- Null: a run of before it was kept, which goes by the name that the schema was first seen under.
alter table run add column schema_ref text;
