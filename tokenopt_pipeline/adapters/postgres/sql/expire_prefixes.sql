-- intended or living → ended, for the run's prefixes whose time is over.
update kept_prefix set state = 'ended', ended_at = %(now)s
where run_no = %(run_no)s and state in ('intended', 'living') and expires_at <= %(now)s
