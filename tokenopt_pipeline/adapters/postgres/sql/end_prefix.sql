-- living → ended, or intended → failed when the provider did not take it: then it cost nothing.
update kept_prefix set state = case state when 'living' then 'ended' else 'failed' end, ended_at = %(now)s,
  error_message = %(message)s, usd = case state when 'living' then usd else 0 end
where prefix_no = %(prefix_no)s and state in ('intended', 'living')
