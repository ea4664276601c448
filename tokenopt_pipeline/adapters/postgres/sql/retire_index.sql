-- Takes the serving index of a reference out of service.
update reference_index set state = 'retired' where reference_no = %(reference_no)s and state = 'serving'
