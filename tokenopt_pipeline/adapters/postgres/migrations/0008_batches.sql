-- Batches: the intent before a provider is asked for one, which calls are in it, what it answered, and who works on it now.

alter table run drop constraint run_mode_is_known;
alter table run add constraint run_mode_is_known check (mode in ('sync', 'async', 'auto'));

create table batch (
  batch_no bigint generated always as identity primary key,
  run_no int not null,
  shard_no int not null,
  model text not null,
  -- Digest of the calls in it; the provider's tag of the batch and the ids of its requests begin with it.
  key text not null,
  round int not null,
  state text not null default 'intended',
  n_requests int not null,
  n_bytes bigint not null,
  batch_id text,
  intended_at timestamptz not null,
  -- Committed before the provider is asked; without it there is nothing to look for.
  asked_at timestamptz,
  submitted_at timestamptz,
  ended_at timestamptz,
  closed_at timestamptz,
  outcome text,
  is_adopted boolean not null default false,
  is_unwanted boolean not null default false,
  -- The first listing that did not show an intended batch.
  unseen_since timestamptz,
  -- Batches at the provider that were looked into and are somebody else's.
  not_ours text[] not null default '{}',
  n_done int,
  look_at timestamptz not null,
  downloads int not null default 0,
  -- What was wrong last, in one line.
  problem text,
  constraint a_batch_belongs_to_a_shard foreign key (run_no, shard_no) references shard,
  constraint one_batch_per_intent unique (key),
  constraint a_batch_key_is_a_digest check (key ~ '^[0-9a-f]{16}$'),
  constraint batch_state_is_known check (state in ('intended', 'submitted', 'ended', 'closed')),
  constraint batch_outcome_is_known check (outcome in ('completed', 'expired', 'cancelled', 'failed', 'unborn')),
  constraint an_ended_batch_has_an_outcome check ((state in ('ended', 'closed')) = (outcome is not null)),
  constraint a_submitted_batch_has_an_id check (state <> 'submitted' or batch_id is not null),
  constraint only_an_unborn_batch_never_had_an_id check (outcome is null or outcome = 'unborn' or batch_id is not null),
  constraint a_batch_has_requests check (n_requests > 0)
);
-- One batch of a provider is one of ours and no other's.
create unique index one_intent_per_provider_batch on batch (split_part(model, '/', 1), batch_id) where batch_id is not null;
create index open_batch_by_shard on batch (run_no, shard_no) where state <> 'closed';
create index open_batch on batch (look_at) where state <> 'closed';

create table batch_request (
  batch_no bigint not null references batch,
  custom_id text not null,
  call_no bigint not null references call,
  pack_no bigint not null references pack,
  primary key (batch_no, custom_id),
  constraint a_call_is_in_one_batch unique (call_no)
);
create index batch_request_by_pack on batch_request (pack_no);

-- A provider's line about a request, as it came. Imported once per request, however often the file is downloaded.
create table batch_result (
  batch_no bigint not null,
  custom_id text not null,
  line text not null,
  is_simulated boolean not null,
  imported_at timestamptz not null,
  primary key (batch_no, custom_id),
  constraint a_result_is_of_an_asked_request foreign key (batch_no, custom_id) references batch_request
) with (toast_tuple_target = 8160);

-- Who collects a shard's batches; a process that dies lets go of it when the time is over.
create table batch_lease (
  run_no int not null,
  shard_no int not null,
  lease text not null,
  until timestamptz not null,
  primary key (run_no, shard_no),
  constraint a_lease_is_on_a_shard foreign key (run_no, shard_no) references shard
);

create function refuse_batch_going_back() returns trigger language plpgsql as $$
begin
  if array_position(array['intended', 'submitted', 'ended', 'closed'], new.state)
     < array_position(array['intended', 'submitted', 'ended', 'closed'], old.state) then
    raise exception 'batch %: % to % is not allowed', old.batch_no, old.state, new.state using errcode = 'check_violation';
  end if;
  if old.batch_id is not null and new.batch_id is distinct from old.batch_id then
    raise exception 'batch % is % at its provider and cannot become %', old.batch_no, old.batch_id, new.batch_id
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger batch_moves_forward before update on batch for each row execute function refuse_batch_going_back();
create trigger batch_result_is_append_only before update or delete on batch_result
  for each row execute function refuse_change();
create trigger batch_result_is_never_emptied before truncate on batch_result
  for each statement execute function refuse_change();

-- An answer that came after its pack had got another one: billed, kept, and nobody's output.
alter table call drop constraint call_state_is_known;
alter table call add constraint call_state_is_known check (state in ('started', 'answered', 'failed', 'superseded'));

-- A call of a batch is billed at the batch price.
alter table ledger add column mode text not null default 'sync';
alter table ledger add constraint ledger_mode_is_known check (mode in ('sync', 'async'));
