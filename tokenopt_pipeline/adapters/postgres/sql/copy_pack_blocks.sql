copy pack_block (pack_no, position, run_no, block_no, attempts_before) from stdin
