-- Blocks of the shard by verdict and rule.
select verdict, rule_id, count(*) as n from overlay
where run_no = %(run_no)s and shard_no = %(shard_no)s group by 1, 2 order by 1, 2
