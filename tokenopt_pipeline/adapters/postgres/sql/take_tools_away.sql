-- From now on the pack is asked plainly.
update pack set tools = false where pack_no = %(pack_no)s and state = 'open'
