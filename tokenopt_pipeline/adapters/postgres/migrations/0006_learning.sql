-- What earlier calls taught, frozen with the runs that were planned with it, and what it is learnt from.

alter table run add column learned jsonb not null default '{}';
-- Expected of the call's input by the model table alone. Null: a call of before it was kept.
alter table ledger add column table_input int;
create index ledger_by_model on ledger (model, kind, call_no desc);
