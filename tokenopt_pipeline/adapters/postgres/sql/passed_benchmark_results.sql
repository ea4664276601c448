-- Per cell, the newest result that passed under these thresholds before this benchmark; of the same inputs and kind.
select distinct on (workload, scenario, blocks, cache) numbers
from benchmark_result
where passed and gates_digest = %(gates_digest)s and benchmark_id <> %(benchmark_id)s
order by workload, scenario, blocks, cache, result_no desc
