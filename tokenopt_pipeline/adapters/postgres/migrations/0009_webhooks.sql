-- Webhooks: what was heard, once each, and how often nobody was listened to.

create table webhook (
  provider text not null,
  webhook_id text not null,
  kind text not null,
  batch_id text,
  received_at timestamptz not null,
  primary key (provider, webhook_id)
);

create table webhook_refusal (
  provider text not null,
  refusal text not null,
  n bigint not null,
  last_at timestamptz not null,
  primary key (provider, refusal)
);
