-- The newest result of every cell.
select distinct on (workload, scenario, blocks, cache) benchmark_id, measured_at, commit_name, seed, gates_digest, passed, numbers, timing
from benchmark_result
order by workload, scenario, blocks, cache, result_no desc
