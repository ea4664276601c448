-- Takes in chunks on their way to their index.
copy new_chunk (chunk_no, section_no, source_name, title, heading, text, n_tokens, content_hash, trigger) from stdin
