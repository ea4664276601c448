-- What the file says now.
update policy_file set policy = %(policy)s, seen_at = %(now)s where path = %(path)s
