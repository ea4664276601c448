-- Creates the collection unless it exists.
insert into collection (name, created_at) values (%(name)s, %(now)s) on conflict (name) do nothing
