-- started → superseded: the answer came after its pack had got another one.
update call set state = 'superseded', ended_at = %(now)s where call_no = %(call_no)s and state = 'started' returning call_no
