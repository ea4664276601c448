-- A conversation about a pack, with what the pack may cost at most; one that is there already stays as it is.
insert into conversation (pack_no, run_no, reserved_usd, begun_at)
values (%(pack_no)s, %(run_no)s, %(reserved_usd)s, %(now)s)
on conflict do nothing
