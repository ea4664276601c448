-- ended → closed.
update batch set state = 'closed', closed_at = %(now)s, problem = %(problem)s where batch_no = %(batch_no)s and state = 'ended'
