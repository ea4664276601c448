-- Open packs ask no more for their prefix to be kept.
update pack set cache_ttl = null, cache_reason = %(reason)s where pack_no = any(%(pack_nos)s) and state = 'open'
