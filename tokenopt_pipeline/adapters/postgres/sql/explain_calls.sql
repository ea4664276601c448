-- Every pack a block was in and every try of its request, oldest first.
select p.pack_no, p.parent_pack_no, p.generation, p.asks, p.cause, p.hops, p.obstacle, p.first_tier, p.tier, p.model, p.mode, p.route_rule, p.route_reason, p.cache_reason, p.reason as pack_reason,
  x.kind as context_kind, x.cause as context_cause, x.reason as context_reason, x.tokens as context_tokens,
  p.input_tokens as planned_input, p.output_tokens as planned_output, p.max_tokens, pb.position, pb.attempts_before,
  (select count(*) from pack_block x where x.pack_no = p.pack_no) as pack_blocks,
  v.cause as bridge_cause, v.reason as bridge_reason, t.tool_calls, t.calls_made, t.tools_ms,
  c.call_no, c.try_no, c.state, c.error_class, c.error_message, c.started_at,
  l.input_uncached, l.cache_write_5m, l.cache_write_1h, l.cache_read, l.output, l.usd, l.latency_ms, l.request_id, l.kind,
  m.finding, m.detail, m.answer, m.is_last, m.doubts, m.verdict,
  b.batch_no, b.batch_id, b.round as batch_round, b.state as batch_state, b.outcome as batch_outcome
from pack_block pb
join pack p using (pack_no)
left join pack_context x using (pack_no)
left join call c on c.pack_no = p.pack_no
left join conversation v on v.pack_no = p.pack_no
left join turn t on t.call_no = c.call_no
left join ledger l on l.call_no = c.call_no
left join batch_request q on q.call_no = c.call_no
left join batch b on b.batch_no = q.batch_no
left join model_output m on m.call_no = c.call_no and m.block_no = pb.block_no
where pb.run_no = %(run_no)s and pb.block_no = %(block_no)s
order by p.pack_no, c.try_no
