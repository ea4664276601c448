-- Keeps what an index's probes measured.
update reference_index set calibration = %(calibration)s where index_no = %(index_no)s
