-- intended or submitted → ended.
update batch set state = 'ended', outcome = %(outcome)s, ended_at = %(now)s, look_at = %(now)s,
  n_done = coalesce(%(n_done)s, n_done), problem = %(problem)s
where batch_no = %(batch_no)s and state in ('intended', 'submitted')
