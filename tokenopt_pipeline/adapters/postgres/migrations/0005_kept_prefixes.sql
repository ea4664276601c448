-- Prefixes that a provider keeps for rent: money that is spent beside the calls.

create table kept_prefix (
  prefix_no bigint generated always as identity primary key,
  run_no int not null references run,
  fingerprint text not null,
  model text not null,
  state text not null default 'intended',
  name text,
  tokens int,
  usd numeric(14, 8),
  usd_ceiling numeric(14, 8) not null,
  began_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  error_message text,
  constraint kept_prefix_state_is_known check (state in ('intended', 'living', 'failed', 'ended')),
  constraint a_living_prefix_has_a_name check (state <> 'living' or (name is not null and tokens is not null)),
  constraint an_ended_prefix_has_an_end check ((state in ('failed', 'ended')) = (ended_at is not null))
);
create unique index one_living_prefix_per_run on kept_prefix (run_no, fingerprint) where state in ('intended', 'living');
