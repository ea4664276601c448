insert into ledger (call_no, run_no, shard_no, model, kind, request_id, fingerprint, input_uncached, cache_write_5m,
  cache_write_1h, cache_read, output, usd, latency_ms, pack_blocks, split_events, assumed_input, assumed_output,
  assumed_max_tokens, assumed_usd_ceiling, prefix, prefix_tokens, table_input, mode, recorded_at)
values (%(call_no)s, %(run_no)s, %(shard_no)s, %(model)s, %(kind)s, %(request_id)s, %(fingerprint)s, %(input_uncached)s,
  %(cache_write_5m)s, %(cache_write_1h)s, %(cache_read)s, %(output)s, %(usd)s, %(latency_ms)s, %(pack_blocks)s,
  %(split_events)s, %(assumed_input)s, %(assumed_output)s, %(assumed_max_tokens)s, %(assumed_usd_ceiling)s,
  %(prefix)s, %(prefix_tokens)s, %(table_input)s, %(mode)s, %(now)s)
