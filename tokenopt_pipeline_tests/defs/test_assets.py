"""Each asset reports what its stage counted, partition by partition."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from tokenopt_pipeline.definitions import defs
from tokenopt_pipeline.defs.assets import LINE
from tokenopt_pipeline.defs.launch import declare_shards
from tokenopt_pipeline.defs.resources import StraightLine
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, ProviderUnavailable
from tokenopt_pipeline.domain.runs import RunKind, shard_key
from tokenopt_pipeline_tests.defs.dagster_rig import ASSET_NAMES, DagsterRig
from tokenopt_pipeline_tests.stages.rig import clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply

COUNTS = {
    "blocks": {"blocks": 2},
    "skip_decisions": {"kept": 2},
    "routed_packs": {"packs_added": 1},
    "batch_submissions": {"batches": 0},
    "model_responses": {
        "calls": 1,
        "flow": {"anthropic/claude-sonnet-5-5": {"window": 8, "ceiling": 8, "decreases": 0, "shrinks": 0}},
        "cache": {"not_shared": {"calls": 1}},
    },
    "reconciled_overlays": {"ai_complete": 2},
}


def metadata(entry: dg.EventLogEntry) -> dict[str, Any]:
    assert entry.asset_materialization is not None
    found: dict[str, Any] = {name: value.value for name, value in entry.asset_materialization.metadata.items()}
    for told in found.get("cache", {}).values():
        # Which call, and in which words, is told elsewhere.
        assert told.pop("why")
        assert told.pop("newest") > 0
    return found


@pytest.mark.parametrize("n_shards", [1, 3])
def test_every_asset_reports_the_counts_of_each_shard(dagster_rig: DagsterRig, n_shards: int) -> None:
    _, keys = dagster_rig.planned(blocks=2 * n_shards)
    dagster_rig.materialize(keys)

    for asset in ASSET_NAMES:
        found = dagster_rig.materialized(asset)
        assert sorted(found) == keys
        assert [metadata(entry) for entry in found.values()] == [COUNTS[asset]] * n_shards


def test_whom_a_run_asked_instead_stands_in_the_asset_s_metadata(dagster_rig: DagsterRig) -> None:
    def script(asked: Asked) -> Reply:
        return ProviderUnavailable("gone") if asked.request.model.ref.model == "claude-sonnet-5-5" else None

    dagster_rig.rig.provider.script = script
    models = {"mid": ["anthropic/claude-sonnet-5-5", "anthropic/claude-haiku-5-5"]}
    _, keys = dagster_rig.planned(blocks=2, routing={"models": models}, retries={"transient_tries": 1})
    dagster_rig.materialize(keys)

    (entry,) = dagster_rig.materialized("model_responses").values()
    routed = metadata(entry)["routing"]
    assert routed["fallbacks"] == {"unavailable": 2}
    assert routed["usd"]["other_models"] > 0


def test_one_shard_can_be_taken_asset_by_asset_and_twice_changes_nothing(dagster_rig: DagsterRig) -> None:
    rig = dagster_rig.rig
    rig.ingest("* * *", *clauses(3), types={"* * *": BlockType.DIVIDER})
    run = rig.plan()
    key = shard_key(run.run_id, 0)
    declare_shards(dagster_rig.instance, [key])

    for asset in LINE:
        for again in (False, True):
            before = rig.states()
            result = dg.materialize(
                LINE,
                selection=[asset],
                partition_key=key,
                instance=dagster_rig.instance,
                resources={"straight_line": StraightLine()},
            )
            assert result.success
            if again:
                assert rig.states() == before

    assert rig.statuses(run) == {"skipped": 1, "ai_complete": 3}
    assert len(rig.provider.asked) == 1


@pytest.mark.parametrize("asset", LINE, ids=ASSET_NAMES)
def test_an_asset_without_a_partition_is_refused_instead_of_doing_nothing(
    dagster_rig: DagsterRig, asset: dg.AssetsDefinition
) -> None:
    # Dagster itself refuses where it knows the job; the body refuses where it does not.
    with pytest.raises((InvalidInput, dg.DagsterInvariantViolationError, dg.DagsterError)):
        dg.materialize([asset], instance=dagster_rig.instance, resources={"straight_line": StraightLine()})
    assert dagster_rig.materialized(asset.key.to_user_string()) == {}


def test_the_job_without_a_partition_says_what_to_choose(dagster_rig: DagsterRig) -> None:
    dagster_rig.planned()
    with pytest.raises(InvalidInput, match="choose the partitions to materialize: each is a shard of a run"):
        defs.resolve_job_def("extraction").execute_in_process(instance=dagster_rig.instance)


def test_a_partition_of_no_run_is_not_found(dagster_rig: DagsterRig) -> None:
    declare_shards(dagster_rig.instance, ["r-nowhere-000000"])
    with pytest.raises(NotFound, match="partition 'r-nowhere-000000' is not a shard of any run"):
        dagster_rig.materialize(["r-nowhere-000000"])


def test_a_live_run_is_not_continued_with_simulated_answers(dagster_rig: DagsterRig) -> None:
    rig = dagster_rig.rig
    rig.ingest(*clauses(2))
    run = rig.plan(rig.request(kind=RunKind.LIVE))
    key = shard_key(run.run_id, 0)
    declare_shards(dagster_rig.instance, [key])

    with pytest.raises(InvalidInput, match="is live, but the environment's provider is simulated"):
        dagster_rig.materialize([key])

    assert rig.provider.asked == []
