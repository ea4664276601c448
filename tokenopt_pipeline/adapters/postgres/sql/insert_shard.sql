-- A shard of the run.
insert into shard (run_no, shard_no, first_ordinal, end_ordinal)
values (%(run_no)s, %(shard_no)s, %(first)s, %(end)s)
