insert into response (call_no, stop, text, refusal, strays, received_at)
values (%(call_no)s, %(stop)s, %(text)s, %(refusal)s, %(strays)s, %(now)s)
