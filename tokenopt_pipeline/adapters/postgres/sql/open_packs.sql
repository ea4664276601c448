-- Packs of the shard that are asked in sync mode and have no answer, in the order they were planned.
select p.*, (select count(*) from call c where c.pack_no = p.pack_no) as tries,
  x.kind as context_kind, x.cause as context_cause, x.reason as context_reason, x.tokens as context_tokens,
  x.text_ids as context_texts
from pack p left join pack_context x using (pack_no)
where p.run_no = %(run_no)s and p.shard_no = %(shard_no)s and p.state = 'open' and p.mode = 'sync'
order by p.pack_no
