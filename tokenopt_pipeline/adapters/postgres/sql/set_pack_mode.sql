-- Open packs are asked in another way from now on.
update pack set mode = %(mode)s, route_reason = route_reason || ' ' || %(reason)s
where state = 'open' and mode <> %(mode)s and (%(run_no)s::int is null or run_no = %(run_no)s)
  and (%(pack_nos)s::bigint[] is null or pack_no = any(%(pack_nos)s))
