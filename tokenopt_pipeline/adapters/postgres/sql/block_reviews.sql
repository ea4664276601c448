-- What people said of one block's answer, first to last.
select verdict, reviewer, reviewed_at, note, old_answer, new_answer
from review where run_no = %(run_no)s and block_no = %(block_no)s order by review_no
