-- What a call shared with others, so that it can be said why a cache was or was not hit.

-- Null: a call of before it was kept.
alter table ledger add column prefix jsonb, add column prefix_tokens int;
create index call_by_start on call (started_at);
