-- The conversation about the pack, if there has been one.
select begun_at from conversation where pack_no = %(pack_no)s
