-- Failed blocks of the run by error class.
select error_class, count(*) as n from overlay
where run_no = %(run_no)s and status = 'failed' group by 1 order by 2 desc, 1
