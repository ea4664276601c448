-- open → settled.
update pack set state = 'settled' where pack_no = %(pack_no)s and state = 'open' returning pack_no
