-- What packs of the run, or of one shard of it, carry of their references, and why.
select x.kind, x.cause, count(*) as n
from pack_context x join pack p using (pack_no)
where p.run_no = %(run_no)s and (%(shard_no)s::int is null or p.shard_no = %(shard_no)s)
group by x.kind, x.cause
order by n desc, x.kind, x.cause
