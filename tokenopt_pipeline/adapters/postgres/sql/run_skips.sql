-- Blocks of the run that were not asked, by verdict and rule.
select verdict, rule_id, count(*) as n from overlay
where run_no = %(run_no)s and verdict <> 'keep' group by 1, 2 order by 1 desc, 3 desc, 2
