-- intended → answered, with what it is billed, or refused: then it costs nothing.
update embedding_use set state = %(state)s, tokens = %(tokens)s, is_counted = %(is_counted)s, usd = %(usd)s
where use_no = %(use_no)s and state = 'intended'
