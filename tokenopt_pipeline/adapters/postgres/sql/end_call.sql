-- started → answered or failed.
update call set state = %(state)s, ended_at = %(now)s, error_class = %(error_class)s, error_message = %(error_message)s,
  may_be_billed = %(may_be_billed)s
where call_no = %(call_no)s and state = 'started'
returning call_no
