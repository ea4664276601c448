-- What a look at a batch told, and when to look again.
update batch set n_done = coalesce(%(n_done)s, n_done), problem = %(problem)s, look_at = %(look_at)s,
  unseen_since = case when %(is_unseen)s then coalesce(unseen_since, %(now)s) end,
  not_ours = not_ours || %(not_ours)s::text[], downloads = downloads + %(downloads)s
where batch_no = %(batch_no)s and state <> 'closed'
