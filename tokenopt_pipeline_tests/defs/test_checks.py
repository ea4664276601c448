"""Each check passes over a sound run and fails over a broken one, for exactly the shards that are broken."""

from __future__ import annotations

from typing import cast

import dagster as dg
import pytest

from tokenopt_pipeline.defs.launch import declare_shards
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.runs import shard_key
from tokenopt_pipeline_tests.defs.dagster_rig import CHECK_NAMES, DagsterRig
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import clauses


@pytest.fixture
def finished(dagster_rig: DagsterRig) -> tuple[DagsterRig, list[str]]:
    """Three shards with a skipped, a failed and answered blocks, materialized."""
    rig = dagster_rig.rig
    rig.ingest("* * *", *clauses(5), types={"* * *": BlockType.DIVIDER})
    rig.provider.script = answers.on_text("Clause 2:", answers.refusing)
    run = rig.plan(run={"shard_blocks": 2, "budget_usd": 1})
    keys = [shard_key(run.run_id, n) for n in range(3)]
    declare_shards(dagster_rig.instance, keys)
    dagster_rig.materialize(keys)
    assert rig.statuses(run) == {"skipped": 1, "ai_complete": 4, "failed": 1}
    return dagster_rig, keys


def test_every_asked_shard_gets_every_check_tied_to_its_materialization(finished: tuple[DagsterRig, list[str]]) -> None:
    rig, keys = finished
    materializations = rig.instance.fetch_materializations(dg.AssetKey("reconciled_overlays"), limit=100).records
    storage_ids = {r.partition_key: r.storage_id for r in materializations}

    found = rig.check(keys)

    assert set(found) == set(CHECK_NAMES)
    for evaluations in found.values():
        assert set(evaluations) == set(keys)
        for key, evaluation in evaluations.items():
            assert evaluation.passed
            assert evaluation.severity is dg.AssetCheckSeverity.ERROR
            assert evaluation.target_materialization_data is not None
            assert evaluation.target_materialization_data.storage_id == storage_ids[key]


@pytest.mark.parametrize(
    ("check", "breach", "shard_no"),
    [
        ("every_block_has_one_outcome", "delete from overlay where ordinal = 4", 2),
        ("overlays_satisfy_their_schema", "update overlay set staged = '{}' where ordinal = 4", 2),
        ("every_skip_has_a_rule", "update overlay set rule_id = '' where verdict = 'skip'", 0),
        ("ledger_equals_calls", "delete from ledger where shard_no = 1", 1),
        ("spend_is_within_budget", "update ledger set usd = 1.01 where shard_no = 2", None),
    ],
)
def test_a_breach_fails_the_check_of_its_shard_and_no_other(
    finished: tuple[DagsterRig, list[str]], check: str, breach: str, shard_no: int | None
) -> None:
    rig, keys = finished
    rig.tamper(breach)

    found = rig.check(keys)

    failed = {(name, key) for name, of_name in found.items() for key, e in of_name.items() if not e.passed}
    # The budget is the whole run's.
    assert failed == {(check, key) for key in (keys if shard_no is None else [keys[shard_no]])}


def test_a_failed_check_names_the_blocks_behind_it(finished: tuple[DagsterRig, list[str]]) -> None:
    rig, keys = finished
    rig.tamper("""update overlay set staged = '{"kind": "nonsense"}' where ordinal = 4""")

    evaluation = rig.check(keys)["overlays_satisfy_their_schema"][keys[2]]

    document = rig.rig.one("select document_id from document")
    (offender,) = cast(list[str], evaluation.metadata["offenders"].value)
    assert offender.startswith(f"{document}:4: kind: ")
    assert {k: v.value for k, v in evaluation.metadata.items() if k != "offenders"} == {"answers": 2, "invalid": 1}


def test_a_shard_that_was_never_taken_fails_and_is_tied_to_nothing(dagster_rig: DagsterRig) -> None:
    _, keys = dagster_rig.planned()

    found = dagster_rig.check(keys)

    assert [e.passed for e in found["every_block_has_one_outcome"].values()] == [False] * 3
    assert all(e.target_materialization_data is None for of_name in found.values() for e in of_name.values())


def test_a_partition_of_no_run_fails_every_check_instead_of_being_skipped(
    finished: tuple[DagsterRig, list[str]],
) -> None:
    rig, keys = finished
    declare_shards(rig.instance, ["r-nowhere-000000"])

    found = rig.check([*keys, "r-nowhere-000000"])

    for evaluations in found.values():
        assert {key: e.passed for key, e in evaluations.items()} == {
            **dict.fromkeys(keys, True),
            "r-nowhere-000000": False,
        }
        assert "is not a shard of any run" in str(evaluations["r-nowhere-000000"].metadata["problem"].value)
