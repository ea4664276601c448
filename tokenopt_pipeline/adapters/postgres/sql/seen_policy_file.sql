select policy from policy_file where path = %(path)s for update
