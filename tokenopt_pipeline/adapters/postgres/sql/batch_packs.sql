-- Requests of the batch that have a line and whose calls are under way, with their packs.
select q.call_no, c.fingerprint as call_fingerprint, s.line, s.is_simulated, p.*, (select count(*) from call c where c.pack_no = p.pack_no) as tries,
  x.kind as context_kind, x.cause as context_cause, x.reason as context_reason, x.tokens as context_tokens,
  x.text_ids as context_texts, exists (select from conversation v where v.pack_no = p.pack_no) as has_talked
from batch_request q
join call c on c.call_no = q.call_no and c.state = 'started'
join pack p on p.pack_no = q.pack_no
left join pack_context x on x.pack_no = p.pack_no
join batch_result s on s.batch_no = q.batch_no and s.custom_id = q.custom_id
where q.batch_no = %(batch_no)s and q.call_no > %(after)s
order by q.call_no limit %(most)s
