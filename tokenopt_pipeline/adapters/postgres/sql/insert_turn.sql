insert into turn (call_no, pack_no, carry, tool_calls, latency_ms)
values (%(call_no)s, %(pack_no)s, %(carry)s, %(tool_calls)s, %(latency_ms)s)
