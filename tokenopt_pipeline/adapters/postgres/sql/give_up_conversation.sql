update conversation set cause = %(cause)s, reason = %(reason)s where pack_no = %(pack_no)s and cause is null
