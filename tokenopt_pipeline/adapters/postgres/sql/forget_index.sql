-- Forgets an index whose tables are gone.
delete from reference_index where index_no = %(index_no)s and state = 'retired'
