-- The id of the run with a number.
select run_id from run where run_no = %(run_no)s
