-- The intent to have a prefix kept; no row when another session is about to, or has it.
insert into kept_prefix (run_no, fingerprint, model, usd_ceiling, began_at, expires_at)
values (%(run_no)s, %(fingerprint)s, %(model)s, %(usd_ceiling)s, %(now)s, %(expires_at)s)
on conflict (run_no, fingerprint) where state in ('intended', 'living') do nothing
returning prefix_no
