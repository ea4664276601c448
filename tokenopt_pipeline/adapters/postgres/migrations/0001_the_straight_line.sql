-- Documents to overlays. Every constraint whose breach would make a figure or an answer wrong has a name that says so.

create table collection (
  collection_no int generated always as identity primary key,
  name text not null unique,
  created_at timestamptz not null,
  constraint collection_name_is_a_plain_word check (name ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$')
);

create table document (
  document_no bigint generated always as identity primary key,
  document_id text not null unique,
  source_type text not null,
  reader_version int not null,
  title text,
  n_bytes bigint not null,
  n_blocks int not null,
  created_at timestamptz not null,
  constraint document_id_is_a_content_hash check (document_id ~ '^[0-9a-f]{64}$')
);

-- Which bytes stood behind a name in a collection, and since when. The row without superseded_at is today's.
create table collection_document (
  collection_no int not null references collection,
  source_name text not null,
  document_no bigint not null references document,
  added_at timestamptz not null,
  superseded_at timestamptz,
  primary key (collection_no, source_name, added_at)
);
create unique index one_current_document_per_source_name
  on collection_document (collection_no, source_name) where superseded_at is null;

-- Facts that rules look at stand in columns, so that filters never read the text.
-- toast_tuple_target: rows up to 8 kB stay in place, which makes bulk loads two to three times as fast.
create table block (
  block_no bigint generated always as identity primary key,
  document_no bigint not null references document,
  block_index int not null,
  block_type text not null,
  is_blank boolean not null,
  n_words int not null,
  n_tokens int not null,
  content_hash uuid not null,
  locator jsonb not null,
  text text not null,
  constraint one_block_per_place unique (document_no, block_index),
  constraint block_index_counts_from_zero check (block_index >= 0)
) with (toast_tuple_target = 8160);

create table extraction_schema (
  schema_hash text primary key,
  ref text not null,
  source json not null, -- not jsonb, which would forget the order of the properties
  prompt_tokens int not null,
  created_at timestamptz not null
);

create table policy_file (
  path text primary key,
  policy jsonb not null,
  seen_at timestamptz not null
);

create table policy_change (
  change_no bigint generated always as identity primary key,
  path text not null,
  changed_by text not null,
  changed_at timestamptz not null,
  old_policy jsonb,
  new_policy jsonb not null
);

create table run (
  run_no int generated always as identity primary key,
  run_id text not null unique,
  collection_no int not null references collection,
  schema_hash text not null references extraction_schema,
  policy jsonb not null,
  policy_hash text not null,
  policy_sources jsonb not null,
  inputs_digest text not null,
  answer_recipe uuid not null,
  mode text not null,
  kind text not null,
  state text not null default 'open',
  n_blocks int not null,
  n_shards int not null,
  budget_usd numeric(14, 6),
  created_at timestamptz not null,
  ended_at timestamptz,
  constraint run_mode_is_known check (mode in ('sync', 'async')),
  constraint run_kind_is_known check (kind in ('simulated', 'live')),
  constraint run_state_is_known check (state in ('open', 'complete', 'cancelled')),
  constraint an_ended_run_has_an_end check ((state = 'open') = (ended_at is null))
);
create unique index one_open_run_per_inputs on run (inputs_digest) where state = 'open';

create table run_document (
  run_no int not null references run,
  document_no bigint not null references document,
  first_ordinal int not null,
  primary key (run_no, document_no)
);

create table shard (
  run_no int not null references run,
  shard_no int not null,
  first_ordinal int not null,
  end_ordinal int not null,
  primary key (run_no, shard_no),
  constraint a_shard_has_blocks check (end_ordinal > first_ordinal)
);

-- The one output of a block in a run. The primary key is why there are never two.
create table overlay (
  run_no int not null,
  block_no bigint not null references block,
  shard_no int not null,
  ordinal int not null,
  status text not null default 'pending',
  rule_id text,
  error_class text,
  error_detail text,
  staged jsonb,
  confirmed jsonb,
  call_no bigint,
  reused_run_no int,
  reused_block_no bigint,
  answer_key uuid not null,
  revision int not null default 0,
  primary key (run_no, block_no),
  constraint an_overlay_belongs_to_a_shard foreign key (run_no, shard_no) references shard,
  constraint one_block_per_ordinal unique (run_no, ordinal),
  constraint overlay_status_is_known
    check (status in ('pending', 'skipped', 'submitted', 'ai_complete', 'failed', 'confirmed')),
  constraint a_skipped_overlay_has_a_rule check ((status = 'skipped') = (rule_id is not null)),
  constraint a_failed_overlay_has_an_error_class check ((status = 'failed') = (error_class is not null)),
  constraint an_answered_overlay_has_values check ((status in ('ai_complete', 'confirmed')) = (staged is not null)),
  constraint an_answered_overlay_has_an_origin
    check (staged is null or (call_no is not null) <> (reused_run_no is not null)),
  constraint a_confirmed_overlay_has_confirmed_values check ((status = 'confirmed') = (confirmed is not null)),
  constraint reuse_names_run_and_block check ((reused_run_no is null) = (reused_block_no is null))
) with (fillfactor = 70);
create index overlay_by_shard on overlay (run_no, shard_no, status);
create index answered_overlay_by_key on overlay (answer_key) where status in ('ai_complete', 'confirmed');

create table skip_decision (
  run_no int not null,
  block_no bigint not null,
  shard_no int not null,
  verdict text not null,
  rule_id text not null,
  evidence text not null,
  canonical_run_no int,
  canonical_block_no bigint,
  primary key (run_no, block_no),
  constraint a_decision_is_about_an_enrolled_block foreign key (run_no, block_no) references overlay,
  constraint verdict_is_known check (verdict in ('keep', 'skip', 'reuse')),
  constraint reuse_names_its_canonical_block
    check ((verdict = 'reuse') = (canonical_run_no is not null and canonical_block_no is not null))
);
create index skip_decision_by_shard on skip_decision (run_no, shard_no, verdict);

create table pack (
  pack_no bigint generated always as identity primary key,
  run_no int not null,
  shard_no int not null,
  parent_pack_no bigint references pack,
  generation int not null,
  state text not null default 'open',
  tier text not null,
  model text not null,
  mode text not null,
  route_rule text not null,
  route_reason text not null,
  cache_ttl text,
  cache_reason text not null,
  input_tokens int not null,
  output_tokens int not null,
  max_tokens int not null,
  output_scale int not null,
  limits jsonb not null,
  created_at timestamptz not null,
  constraint a_pack_belongs_to_a_shard foreign key (run_no, shard_no) references shard,
  constraint pack_state_is_known check (state in ('open', 'settled'))
);
create index open_pack_by_shard on pack (run_no, shard_no) where state = 'open';
create index pack_by_shard on pack (run_no, shard_no);

create table pack_block (
  pack_no bigint not null references pack,
  position int not null,
  run_no int not null,
  block_no bigint not null,
  attempts_before int not null,
  is_live boolean not null default true,
  primary key (pack_no, position),
  constraint a_packed_block_is_enrolled foreign key (run_no, block_no) references overlay,
  constraint position_counts_from_one check (position > 0)
);
create unique index one_live_pack_per_block on pack_block (run_no, block_no) where is_live;
create index pack_block_by_block on pack_block (run_no, block_no);

-- One row per try of a request, written before the provider is asked. `started` without an end: the answer was never
-- stored; it may have been billed.
create table call (
  call_no bigint generated always as identity primary key,
  pack_no bigint not null references pack,
  run_no int not null references run,
  try_no int not null,
  fingerprint text not null,
  state text not null default 'started',
  usd_ceiling numeric(14, 8),
  started_at timestamptz not null,
  ended_at timestamptz,
  error_class text,
  error_message text,
  constraint one_call_per_pack_and_try unique (pack_no, try_no),
  constraint call_state_is_known check (state in ('started', 'answered', 'failed')),
  constraint an_ended_call_has_an_end check ((state = 'started') = (ended_at is null)),
  constraint a_failed_call_has_an_error check ((state = 'failed') = (error_class is not null))
);
create unique index one_answer_per_pack on call (pack_no) where state = 'answered';
create index call_by_run on call (run_no, state);

create table response (
  call_no bigint primary key references call,
  stop text not null,
  text text not null,
  refusal text,
  strays int not null,
  received_at timestamptz not null
);

create table ledger (
  call_no bigint primary key references call,
  run_no int not null,
  shard_no int not null,
  model text not null,
  kind text not null,
  request_id text,
  fingerprint text not null,
  input_uncached int not null,
  cache_write_5m int not null,
  cache_write_1h int not null,
  cache_read int not null,
  output int not null,
  usd numeric(14, 8),
  latency_ms int not null,
  pack_blocks int not null,
  split_events int not null,
  assumed_input int not null,
  assumed_output int not null,
  assumed_max_tokens int not null,
  assumed_usd_ceiling numeric(14, 8),
  recorded_at timestamptz not null,
  constraint tokens_are_counted check (least(input_uncached, cache_write_5m, cache_write_1h, cache_read, output) >= 0)
);
create index ledger_by_run on ledger (run_no, shard_no);

create table model_output (
  call_no bigint not null references call,
  position int not null,
  run_no int not null,
  block_no bigint not null,
  finding text not null,
  answer jsonb,
  detail text not null,
  is_last boolean not null,
  primary key (call_no, position),
  constraint an_output_is_for_an_enrolled_block foreign key (run_no, block_no) references overlay,
  constraint a_valid_output_has_an_answer check ((finding = 'valid') = (answer is not null)),
  constraint a_valid_output_is_the_last check (finding <> 'valid' or is_last)
);
create unique index one_last_output_per_block on model_output (run_no, block_no) where is_last;

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger ledger_is_append_only before update or delete on ledger for each row execute function refuse_change();
create trigger ledger_is_never_emptied before truncate on ledger for each statement execute function refuse_change();
create trigger response_is_never_emptied before truncate on response for each statement execute function refuse_change();
create trigger model_output_is_never_emptied before truncate on model_output
  for each statement execute function refuse_change();
create trigger policy_change_is_never_emptied before truncate on policy_change
  for each statement execute function refuse_change();
create trigger response_is_append_only before update or delete on response for each row execute function refuse_change();
create trigger model_output_is_append_only before update or delete on model_output
  for each row execute function refuse_change();
create trigger policy_change_is_append_only before update or delete on policy_change
  for each row execute function refuse_change();

create function refuse_illegal_transition() returns trigger language plpgsql as $$
begin
  if old.status <> new.status and (old.status, new.status) not in (
    ('pending', 'skipped'), ('pending', 'submitted'), ('pending', 'ai_complete'), ('pending', 'failed'),
    ('submitted', 'ai_complete'), ('submitted', 'failed'), ('ai_complete', 'confirmed')
  ) then
    raise exception 'overlay of block %: % to % is not allowed', old.block_no, old.status, new.status
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger overlay_moves_forward before update of status on overlay
  for each row execute function refuse_illegal_transition();
