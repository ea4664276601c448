copy block (document_no, block_index, block_type, is_blank, n_words, n_tokens, content_hash, locator, text, language)
from stdin with (format binary)
