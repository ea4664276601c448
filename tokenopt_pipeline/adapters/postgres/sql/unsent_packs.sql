-- Open packs of the shard that go in batches and are in none now, with the number of batches their blocks have been in, and
-- of those among them that brought no turn of a conversation. A batch that the provider never had does not count.
with recursive unsent as (
  select p.* from pack p
  where p.run_no = %(run_no)s and p.shard_no = %(shard_no)s and p.state = 'open' and p.mode = 'async'
    and not exists (select from batch_request q join batch b using (batch_no) where q.pack_no = p.pack_no and b.state <> 'closed')
), line as (
  select pack_no, pack_no as ancestor, parent_pack_no from unsent
  union all
  select l.pack_no, p.pack_no, p.parent_pack_no from line l join pack p on p.pack_no = l.parent_pack_no
)
select u.*, (select count(*) from call c where c.pack_no = u.pack_no) as tries, been.batches, been.rounds,
  exists (select from conversation v where v.pack_no = u.pack_no) as is_reserved,
  x.kind as context_kind, x.cause as context_cause, x.reason as context_reason, x.tokens as context_tokens,
  x.text_ids as context_texts
from unsent u
cross join lateral (
  select count(*) as batches, count(*) filter (where c.state <> 'continued') as rounds
  from line l join batch_request q on q.pack_no = l.ancestor join batch b using (batch_no) join call c on c.call_no = q.call_no
  where l.pack_no = u.pack_no and b.outcome <> 'unborn'
) been
left join pack_context x using (pack_no)
order by u.pack_no
