-- One cell of a benchmark. The same benchmark again changes nothing.
insert into benchmark_result (benchmark_id, measured_at, commit_name, seed, gates_digest, workload, scenario, blocks, cache, kind,
  input_digest, passed, numbers, timing)
values (%(benchmark_id)s, %(measured_at)s, %(commit_name)s, %(seed)s, %(gates_digest)s, %(workload)s, %(scenario)s, %(blocks)s,
  %(cache)s, %(kind)s, %(input_digest)s, %(passed)s, %(numbers)s, %(timing)s)
on conflict on constraint one_result_per_cell_and_benchmark do nothing
