-- intended → living, or a longer life for a living one; what it costs is added to what it has cost.
update kept_prefix set state = 'living', name = %(name)s, tokens = %(tokens)s, expires_at = %(expires_at)s,
  usd = case when %(usd)s::numeric is null then null else coalesce(usd, 0) + %(usd)s end
where prefix_no = %(prefix_no)s and state in ('intended', 'living')
