"""Benchmarks as assets: all scenarios in one run, a check per tier that names what moved, every night."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from tokenopt_pipeline.definitions import defs
from tokenopt_pipeline.defs.benchmarks import GATED_TIERS, SCENARIO_NAMES, benchmark_results, nightly_benchmarks
from tokenopt_pipeline.measuring.judging import tiers_of
from tokenopt_pipeline.measuring.reporting import load_gates
from tokenopt_pipeline.measuring.scenarios import SCENARIOS
from tokenopt_pipeline_tests.defs.dagster_rig import DagsterRig


def _run(rig: DagsterRig, first: str, last: str) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return defs.resolve_job_def("benchmarks").execute_in_process(instance=rig.instance, tags=tags)


def test_a_partition_is_a_scenario_and_every_gated_tier_has_its_check() -> None:
    assert [name for name in SCENARIOS if not name.startswith("everything_without_")] == SCENARIO_NAMES
    assert set(GATED_TIERS) == set(tiers_of(load_gates()))
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys if key.asset_key == benchmark_results.key}
    assert checks == {f"{tier}_keeps_its_gates" for tier in GATED_TIERS}


def test_every_night_one_run_takes_all_scenarios() -> None:
    when = datetime(2026, 11, 26, 3, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=when) as context:
        request = nightly_benchmarks(context)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2026-11-26"
    assert request.tags["dagster/asset_partition_range_start"] == SCENARIO_NAMES[0]
    assert request.tags["dagster/asset_partition_range_end"] == SCENARIO_NAMES[-1]
    assert nightly_benchmarks.cron_schedule == "0 3 * * *"


@pytest.mark.usefixtures("on_the_stand", "small_gates")
def test_a_run_measures_its_partitions_stores_them_and_evaluates_every_tier(dagster_rig: DagsterRig) -> None:
    result = _run(dagster_rig, "worker_batching", "pre_filter")
    assert result.success
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert {name for name, e in evaluations.items() if e.passed} == {
        "worker_batching_keeps_its_gates",
        "pre_filter_keeps_its_gates",
    }
    # It was not in the range, so that its gate has nothing to pass by.
    failures = evaluations["retrieval_keeps_its_gates"].metadata["failures"].value
    assert failures == ["violations of retrieval on short_29 (6 blocks) is not measured."]
    assert set(dagster_rig.materialized("benchmark_results")) == {"worker_batching", "pre_filter"}
    event = dagster_rig.materialized("benchmark_results")["pre_filter"]
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["kind"].value == "simulated"
    assert "| worker_batching |" in str(metadata["comparison"].value)
    assert str(metadata["cost-ladder-shipped"].value).startswith("![cost-ladder-shipped.png](data:image/png;base64,")
    stored = dagster_rig.rig.rows("select distinct benchmark_id from benchmark_result")
    assert [row["benchmark_id"] for row in stored] == [result.run_id]
