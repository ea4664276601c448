copy incoming_result (position, custom_id, line) from stdin with (format binary)
