-- Takes in vectors on their way to their table.
copy new_embedding (content_hash, embedding) from stdin
