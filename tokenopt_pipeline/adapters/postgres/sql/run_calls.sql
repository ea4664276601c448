-- Tries of the run by outcome; an answer that came too late, and a turn of a conversation, count as one. `started`: intended, in
-- no open batch, and no answer was ever stored. `may_be_billed`: failed after it was sent.
select count(*) filter (where state in ('answered', 'continued', 'superseded')) as answered,
  count(*) filter (where state = 'failed') as failed,
  count(*) filter (where state = 'started' and not exists (
    select from batch_request q join batch b using (batch_no) where q.call_no = call.call_no and b.state <> 'closed')) as started,
  count(*) filter (where may_be_billed) as may_be_billed,
  count(*) filter (where state = 'superseded') as superseded
from call where run_no = %(run_no)s
