-- The pack carries its references whole from now on.
update pack_context set kind = %(kind)s, cause = %(cause)s, reason = %(reason)s, tokens = %(tokens)s, text_ids = %(text_ids)s
where pack_no = %(pack_no)s
