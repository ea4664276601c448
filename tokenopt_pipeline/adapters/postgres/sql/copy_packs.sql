copy pack (pack_no, run_no, shard_no, parent_pack_no, generation, asks, cause, first_tier, hops, obstacle, tier, model, mode,
  route_rule, route_reason, cache_ttl, cache_reason, input_tokens, output_tokens, max_tokens, output_scale, limits, reason, tools, created_at)
  from stdin
