insert into policy_change (path, changed_by, changed_at, old_policy, new_policy)
values (%(path)s, %(who)s, %(now)s, %(old)s, %(new)s)
