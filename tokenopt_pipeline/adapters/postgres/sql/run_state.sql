select state from run where run_no = %(run_no)s
