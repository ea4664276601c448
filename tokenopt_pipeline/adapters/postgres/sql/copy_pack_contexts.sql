copy pack_context (pack_no, kind, cause, reason, tokens, text_ids) from stdin
