-- Puts an index into service, in the transaction that takes the other one out.
update reference_index set state = 'serving' where index_no = %(index_no)s and state = 'retired'
