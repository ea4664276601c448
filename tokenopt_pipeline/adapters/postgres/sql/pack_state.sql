select state from pack where pack_no = %(pack_no)s
