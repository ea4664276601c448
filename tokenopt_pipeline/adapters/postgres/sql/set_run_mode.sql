-- A run is gone on with in another mode.
update run set mode = %(mode)s where run_no = %(run_no)s and state = 'open'
