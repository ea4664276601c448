-- What counts against the run's budget: what was billed, and the ceiling of every call whose answer is not stored.
-- A call that was lost in a crash, or whose connection broke after it was sent, may have been billed, so it keeps counting,
-- and so do a kept prefix and a request for vectors. A statement of its own, after the lock: the one that waits for the lock sees the rows as they were before it waited.
select coalesce((select sum(usd) from ledger where run_no = %(run_no)s), 0)
  + coalesce((select sum(usd_ceiling) from call where run_no = %(run_no)s
    and (state = 'started' or may_be_billed)), 0)
  + coalesce((select sum(coalesce(usd, usd_ceiling)) from kept_prefix where run_no = %(run_no)s), 0)
  + coalesce((select sum(coalesce(usd, usd_ceiling)) from embedding_use
    where run_no = %(run_no)s and state <> 'refused'), 0)
  -- What open conversations may still cost beside what their turns have; not that of the pack which is to be asked now.
  + coalesce((select sum(greatest(v.reserved_usd
      - (select coalesce(sum(coalesce(l.usd, c.usd_ceiling)), 0) from call c left join ledger l using (call_no)
         where c.pack_no = v.pack_no and (l.call_no is not null or c.state = 'started' or c.may_be_billed)), 0))
    from pack p join conversation v using (pack_no)
    where p.run_no = %(run_no)s and p.state = 'open' and p.pack_no is distinct from %(pack_no)s::bigint), 0) as used_usd
