-- The newest changes of policy files first.
select path, changed_by, changed_at, old_policy, new_policy from policy_change order by change_no desc limit %(most)s
