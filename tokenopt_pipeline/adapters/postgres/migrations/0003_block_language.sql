-- The language a block is written in, which routing rules may look at; `und` for what was ingested before it was told.
alter table block add column language text not null default 'und';
