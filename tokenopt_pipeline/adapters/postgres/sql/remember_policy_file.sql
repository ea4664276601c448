-- What the file said when it was last used.
insert into policy_file (path, policy, seen_at) values (%(path)s, %(policy)s, %(now)s)
on conflict (path) do update set policy = excluded.policy, seen_at = excluded.seen_at
