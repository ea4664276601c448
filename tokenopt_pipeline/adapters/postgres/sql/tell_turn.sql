-- What the model was told about the calls of its newest turn.
update turn set told = %(told)s, calls_made = %(calls_made)s, tools_ms = %(tools_ms)s
where told is null and call_no = (select max(call_no) from turn where pack_no = %(pack_no)s)
