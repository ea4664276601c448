-- Nobody wants what has not been answered yet; of a whole run or of one batch.
update batch set is_unwanted = true, look_at = %(now)s
where state in ('intended', 'submitted') and not is_unwanted
  and (%(run_no)s::int is null or run_no = %(run_no)s) and (%(batch_no)s::bigint is null or batch_no = %(batch_no)s)
  and (%(run_no)s::int is not null or %(batch_no)s::bigint is not null)
