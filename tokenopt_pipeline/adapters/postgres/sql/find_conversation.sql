-- Whether there has been a conversation about the pack.
select pack_no from conversation where pack_no = %(pack_no)s
