-- What benchmarks measured, night after night: a row per cell and benchmark, never changed.

create table benchmark_result (
  result_no bigint generated always as identity primary key,
  benchmark_id text not null,
  measured_at timestamptz not null,
  commit_name text not null,
  seed int not null,
  -- Of the thresholds that it was judged by; history is compared only under the same ones.
  gates_digest text not null,
  workload text not null,
  scenario text not null,
  blocks int not null,
  cache text not null,
  kind text not null,
  -- Of blocks, schema and reference: other inputs start another history.
  input_digest text not null,
  passed boolean not null,
  numbers jsonb not null,
  timing jsonb,
  constraint one_result_per_cell_and_benchmark unique (benchmark_id, workload, scenario, blocks, cache),
  constraint result_kind_is_known check (kind in ('simulated', 'recorded', 'live')),
  constraint result_cache_is_known check (cache in ('cold', 'warm')),
  constraint a_result_is_about_blocks check (blocks > 0)
);
create index benchmark_result_by_cell on benchmark_result (workload, scenario, blocks, cache, result_no desc);
create trigger benchmark_result_is_append_only before update or delete on benchmark_result
  for each row execute function refuse_change();
create trigger benchmark_result_is_never_emptied before truncate on benchmark_result
  for each statement execute function refuse_change();
