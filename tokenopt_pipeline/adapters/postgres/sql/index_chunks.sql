-- Chunks of an index by their numbers, in the order of their numbers.
select chunk_no, source_name, title, heading, text, n_tokens from {chunks} where chunk_no = any(%(chunk_nos)s) order by chunk_no
