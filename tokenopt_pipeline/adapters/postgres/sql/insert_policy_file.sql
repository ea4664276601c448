-- A policy file, once; waits for another session that is noting the same new file.
insert into policy_file (path, policy, seen_at) values (%(path)s, %(policy)s, %(now)s) on conflict (path) do nothing
