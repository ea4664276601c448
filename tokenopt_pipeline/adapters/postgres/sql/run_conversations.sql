-- Conversations with tools of the run, or of one shard of it: how many, how many have no answer yet, their turns and calls.
select count(*) as conversations, count(*) filter (where v.cause is null and p.state = 'open') as going_on,
  coalesce(sum(t.turns), 0) as turns, coalesce(sum(t.tool_calls), 0) as tool_calls, coalesce(sum(t.calls_made), 0) as calls_made
from conversation v join pack p using (pack_no)
left join lateral (
  select count(*) as turns, sum(json_array_length(tool_calls)) as tool_calls, sum(calls_made) as calls_made
  from turn where pack_no = v.pack_no
) t on true
where v.run_no = %(run_no)s and (%(shard_no)s::int is null or p.shard_no = %(shard_no)s)
