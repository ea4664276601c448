-- Dollars of a workload's scenarios over the latest benchmarks of a block count, oldest first.
select scenario, array_agg(usd order by result_no) as usd
from (
  select scenario, result_no, (numbers ->> 'usd')::float8 as usd,
    row_number() over (partition by scenario order by result_no desc) as age
  from benchmark_result
  where workload = %(workload)s and blocks = %(blocks)s and cache = 'cold' and numbers ->> 'usd' is not null
) latest
where age <= %(most)s
group by scenario
order by scenario
