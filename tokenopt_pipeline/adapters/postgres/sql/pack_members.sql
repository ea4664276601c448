-- A pack's blocks with their texts, and each one's newest valid answer, which was doubted.
select p.block_no, o.ordinal, b.block_type, b.text, b.n_tokens, p.attempts_before,
  s.call_no as standing_call, s.tier as standing_tier, s.answer as standing_answer
from pack_block p
join overlay o on o.run_no = p.run_no and o.block_no = p.block_no
join block b on b.block_no = p.block_no
left join lateral (
  select m.call_no, q.tier, m.answer
  from pack_block x
  join pack q on q.pack_no = x.pack_no and q.asks = 'answer'
  join call c on c.pack_no = q.pack_no and c.state = 'answered'
  join model_output m on m.call_no = c.call_no and m.block_no = x.block_no and m.finding = 'valid'
  where x.run_no = p.run_no and x.block_no = p.block_no and x.pack_no < p.pack_no
  order by m.call_no desc limit 1
) s on true
where p.pack_no = %(pack_no)s
order by p.position
