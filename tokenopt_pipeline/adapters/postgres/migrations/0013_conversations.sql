-- Conversations with tools: every turn is a call of its own, and what it came to is kept so that a conversation goes on where
-- it stood.

-- Whether the model has tools while it answers the pack.
alter table pack add column tools boolean not null default false;

-- continued: answered, and the conversation went on; the answer to the pack is another call's.
alter table call drop constraint call_state_is_known;
alter table call add constraint call_state_is_known
  check (state in ('started', 'continued', 'answered', 'failed', 'superseded'));

create table conversation (
  pack_no bigint primary key references pack,
  run_no int not null references run,
  -- What the pack may cost at most, its plain call included. Null: a price is unknown.
  reserved_usd numeric(14, 8),
  begun_at timestamptz not null,
  -- Why the pack is asked plainly instead. Null: it is not.
  cause text,
  reason text,
  constraint what_gave_up_has_a_reason check ((cause is null) = (reason is null))
);
create index conversation_by_run on conversation (run_no);

-- json and not jsonb, which cannot hold the character NUL.
create table turn (
  call_no bigint primary key references call,
  pack_no bigint not null references conversation,
  -- The answer as the provider wants it back.
  carry text,
  tool_calls json not null,
  latency_ms int not null,
  -- Per call what the model was told. Null: not all of them have been made.
  told json,
  calls_made int,
  tools_ms int,
  constraint what_was_told_was_made check ((told is null) = (calls_made is null) and (told is null) = (tools_ms is null))
);
create index turn_by_pack on turn (pack_no);
