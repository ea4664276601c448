-- What vendors are paid for vectors: money that is spent beside the calls.

create table embedding_use (
  use_no bigint generated always as identity primary key,
  -- Whose blocks or tools searched; null: an index was built, measured or searched by hand.
  run_no int references run,
  embedder text not null,
  texts int not null,
  state text not null default 'intended',
  tokens int,
  -- By our tokenizer, because the vendor says nothing.
  is_counted boolean,
  usd numeric(14, 8),
  usd_ceiling numeric(14, 8),
  began_at timestamptz not null,
  constraint embedding_use_state_is_known check (state in ('intended', 'answered', 'refused')),
  constraint an_answered_use_has_tokens check ((state = 'answered') = (tokens is not null and is_counted is not null))
);
create index embedding_use_by_run on embedding_use (run_no) where run_no is not null;
