copy batch_request (batch_no, custom_id, call_no, pack_no) from stdin
