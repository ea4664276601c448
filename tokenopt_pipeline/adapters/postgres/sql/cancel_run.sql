-- Cancels an open run; its pending blocks stay as they are.
update run set state = 'cancelled', ended_at = %(now)s where run_id = %(run_id)s and state = 'open'
