-- Texts that packs carry, by what they are kept under.
select text_id, text from context_text where text_id = any(%(text_ids)s)
