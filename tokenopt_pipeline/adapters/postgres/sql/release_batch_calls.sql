-- Calls of the batch without an answer get none any more; their packs stay open.
update call c set state = 'failed', ended_at = %(now)s, error_class = %(error_class)s, error_message = %(message)s,
  may_be_billed = %(may_be_billed)s
from batch_request q
where q.call_no = c.call_no and q.batch_no = %(batch_no)s and c.state = 'started'
