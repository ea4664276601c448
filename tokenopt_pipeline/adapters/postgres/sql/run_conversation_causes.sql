-- Why packs of the run, or of one shard of it, were asked plainly after a conversation.
select v.cause, count(*) as n
from conversation v join pack p using (pack_no)
where v.run_no = %(run_no)s and v.cause is not null and (%(shard_no)s::int is null or p.shard_no = %(shard_no)s)
group by v.cause order by n desc, v.cause
