-- Blocks with their texts.
select block_no, block_type, text from block where block_no = any(%(block_nos)s)
