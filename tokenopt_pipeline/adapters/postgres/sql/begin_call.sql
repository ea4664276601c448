-- The intent to call, numbered within its pack.
insert into call (pack_no, run_no, try_no, fingerprint, usd_ceiling, started_at)
select %(pack_no)s, %(run_no)s, coalesce(max(try_no), 0) + 1, %(fingerprint)s, %(usd_ceiling)s, %(now)s
from call where pack_no = %(pack_no)s
returning call_no
