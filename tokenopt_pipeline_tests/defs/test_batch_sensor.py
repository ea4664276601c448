"""The sensor finds what has ended, leases it, and one job takes in any set of shards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.assembly import Backend
from tokenopt_pipeline.definitions import defs
from tokenopt_pipeline.defs.batches import ended_batches_sensor
from tokenopt_pipeline.defs.launch import collect_batches, declare_shards, materialize_shards
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard, shard_key
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.defs.dagster_rig import DagsterRig
from tokenopt_pipeline_tests.stages.rig import clauses


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def submitted(
    dagster_rig: DagsterRig, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[DagsterRig, Run, list[str]]:
    """A run of three shards whose batches are with the sandbox; a parameter is more of its policy."""
    sandbox.control.reset()
    provider = AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url)
    backend = Backend(providers={"anthropic": provider}, kinds={"anthropic": RunKind.SIMULATED}, key_variables={})
    monkeypatch.setattr(assembly, "open_backend", lambda _: backend)
    dagster_rig.rig.ingest(*clauses(6))
    policy: dict[str, Any] = {"run": {"shard_blocks": 2}, "routing": {"model": "anthropic/claude-haiku-5-5"}}
    run = dagster_rig.rig.plan(dagster_rig.rig.request(mode="async", **policy, **getattr(request, "param", {})))
    # Wall time, which the sandbox has too: the rig's own clock stands still in another year.
    dagster_rig.rig.connection.execute("update run set created_at = now()")
    keys = [shard_key(run.run_id, n) for n in range(run.n_shards)]
    declare_shards(dagster_rig.instance, keys)
    result = materialize_shards(defs.resolve_job_def("submission"), dagster_rig.instance, keys)
    assert result.checks == {}
    return dagster_rig, run, keys


def tick(rig: DagsterRig) -> Any:
    """What one tick of the sensor answers."""
    # As time goes by between ticks.
    rig.rig.connection.execute("update batch set look_at = now() - interval '1 second' where state <> 'closed'")
    resource = StraightLine()
    with dg.build_sensor_context(
        instance=rig.instance, resources={"straight_line": resource}, definitions=defs
    ) as context:
        return ended_batches_sensor(context)


def metadata_of(event: Any) -> dict[str, Any]:
    return {name: value.value for name, value in event.metadata.items()}


def test_a_tick_tells_what_is_outstanding_and_launches_one_job_for_all_that_ended(
    submitted: tuple[DagsterRig, Run, list[str]], sandbox: Sandbox
) -> None:
    rig, run, keys = submitted
    before = tick(rig)
    assert (before.run_requests or []) == []
    (observed,) = before.asset_events
    told = metadata_of(observed)
    assert told["batches"] == 3
    assert told["usd_at_most"] > 0
    assert told["outstanding"][0]["provider"] == "anthropic"
    sandbox.control.advance(60)
    after = tick(rig)
    (request,) = after.run_requests
    config = request.run_config["ops"]["collect_shards"]["config"]
    assert config["partitions"] == keys
    assert request.run_key == config["lease"]
    # Somebody has them now.
    assert getattr(tick(rig), "run_requests", None) in (None, [])
    job = defs.resolve_job_def("batch_collection")
    result = job.execute_in_process(instance=rig.instance, run_config=request.run_config)
    assert result.success
    assert sorted(rig.materialized("reconciled_overlays")) == keys
    assert sorted(rig.materialized("model_responses")) == keys
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 5 * len(keys)
    assert all(e.passed and e.target_materialization_data is not None for e in evaluations)
    assert rig.rig.statuses(run) == {"ai_complete": 6}
    assert rig.rig.rows("select 1 from batch_lease") == []
    told_last = tick(rig)
    assert isinstance(told_last, dg.SkipReason)


_TOOLS = {"bridge": {"enabled": True, "servers": {"own": {"builtin": True, "tools": ["lookup_previous_results"]}}}}


@pytest.mark.parametrize("submitted", [_TOOLS], indirect=True)
def test_the_sensor_brings_conversations_to_their_end_round_by_round(
    submitted: tuple[DagsterRig, Run, list[str]], sandbox: Sandbox
) -> None:
    rig, run, keys = submitted
    sandbox.control.set_tools({"rounds": 2, "tools": ["own__lookup_previous_results"]})
    job = defs.resolve_job_def("batch_collection")
    for turns in (1, 2):
        sandbox.control.advance(600)
        (request,) = tick(rig).run_requests
        result = job.execute_in_process(instance=rig.instance, run_config=request.run_config)
        assert result.success
        # Nothing has ended, so that no check has anything to say.
        assert result.get_asset_check_evaluations() == []
        assert rig.rig.one("select count(*) from call where state = 'continued'") == turns * len(keys)
        assert rig.rig.statuses(run) == {"submitted": 6}
    sandbox.control.advance(600)
    (request,) = tick(rig).run_requests
    result = job.execute_in_process(instance=rig.instance, run_config=request.run_config)
    assert {e.passed for e in result.get_asset_check_evaluations()} == {True}
    assert rig.rig.statuses(run) == {"ai_complete": 6}
    rounds = rig.rig.rows("select round, count(*) as n from batch group by 1 order by 1")
    assert rounds == [{"round": n, "n": len(keys)} for n in (1, 2, 3)]
    assert isinstance(tick(rig), dg.SkipReason)


def test_a_lease_that_nobody_ends_runs_out_and_names_another_run(
    submitted: tuple[DagsterRig, Run, list[str]], sandbox: Sandbox
) -> None:
    rig, _, keys = submitted
    sandbox.control.advance(60)
    (first,) = tick(rig).run_requests
    rig.rig.connection.execute("update batch_lease set until = now() - interval '1 second'")
    (second,) = tick(rig).run_requests
    assert second.run_key != first.run_key
    # The one that comes late finds nothing to do and does no harm.
    for request in (second, first):
        job = defs.resolve_job_def("batch_collection")
        assert job.execute_in_process(instance=rig.instance, run_config=request.run_config).success
    assert rig.rig.one("select count(*) from model_output") == 6
    assert len(keys) == 3


def test_packs_that_somebody_forgot_to_submit_are_found_after_a_while(
    submitted: tuple[DagsterRig, Run, list[str]],
) -> None:
    rig, run, _ = submitted
    store = PostgresBatches(rig.rig.connection)
    rig.tamper("delete from batch_request")
    rig.tamper("delete from batch")
    # The rig's clock stood in an earlier year when they were packed.
    rig.tamper("update pack set created_at = now()")
    now = rig.rig.one("select now()")
    idle = {"most": 9, "until": now + timedelta(minutes=10), "now": now}
    assert store.lease("a", idle_since=now - timedelta(minutes=10), **idle) == []
    later = now + timedelta(minutes=11)
    found = store.lease("a", idle_since=later, **idle)
    assert found == [Shard(run_no=run.run_no, shard_no=n) for n in range(3)]
    assert store.lease("b", idle_since=later, **idle) == []


def test_a_provider_that_cannot_be_reached_is_told_and_nothing_changes(
    submitted: tuple[DagsterRig, Run, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, _, _ = submitted
    nobody = AnthropicProvider(api_key="sandbox", base_url="http://127.0.0.1:9")
    backend = Backend(providers={"anthropic": nobody}, kinds={"anthropic": RunKind.SIMULATED}, key_variables={})
    monkeypatch.setattr(assembly, "open_backend", lambda _: backend)
    told = tick(rig)
    assert "no provider could be looked at: anthropic: " in str(told.skip_reason)
    assert rig.rig.one("select count(*) from batch where state = 'submitted'") == 3


def test_batches_of_a_live_run_are_never_looked_for_at_a_stand_in(
    submitted: tuple[DagsterRig, Run, list[str]], sandbox: Sandbox
) -> None:
    rig, _, keys = submitted
    rig.tamper("update run set kind = 'live'")
    sandbox.control.advance(60)
    told = tick(rig)
    assert "nobody of that kind can be asked here" in str(told.skip_reason)
    with pytest.raises(Exception, match="never mixed"):
        collect_batches(defs.resolve_job_def("batch_collection"), rig.instance, keys)
    assert rig.rig.one("select count(*) from batch where state = 'submitted'") == 3
