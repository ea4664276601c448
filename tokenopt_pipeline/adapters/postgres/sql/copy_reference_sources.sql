-- Takes in the sources of a reference, whole.
copy reference_source (reference_no, source_name, position, content_id, text, n_tokens) from stdin
