"""Killed at any point, or told that its batch was not made when it was, a run loses no block and pays for none twice."""

from __future__ import annotations

import sys

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.domain.batches import BatchOutcome
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.factories import a_request
from tokenopt_pipeline_tests.stages.batch_rig import MODELS, VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.killed_batches import POINTS, killed
from tokenopt_pipeline_tests.stages.rig import Rig


@pytest.fixture(params=VENDORS)
def batches(rig: Rig, sandbox: Sandbox, request: pytest.FixtureRequest) -> BatchRig:
    sandbox.control.reset()
    return BatchRig(rig=rig, sandbox=sandbox, vendor=request.param)


def asked(batches: BatchRig) -> int:
    """Requests in all batches that the provider ever accepted."""
    return sum(int(str(batch["items"])) for batch in batches.sandbox.control.batches(batches.vendor))


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_any_point_loses_nothing_doubles_nothing_and_makes_no_second_batch(
    batches: BatchRig, database_url: str, point: str
) -> None:
    run, shard = batches.plan()
    if POINTS.index(point) >= 2:
        batches.line().submit(run, shard)
        batches.pass_time()
    killed(batches, database_url, run.run_id, point)
    batches.finish(run, shard)
    figures = batches.figures(run)
    assert figures == {"lost": 0, "failed": 0, "doubled": 0, "made": 1, "intended": 1}
    packs = batches.rig.one("select count(*) from pack")
    assert asked(batches) == packs == batches.rig.one("select count(*) from ledger")
    # Shown by `pytest -rP`.
    sys.stdout.write(
        f"{batches.vendor}, killed {point}: lost {figures['lost']}, doubled {figures['doubled']}, "
        f"extra batches {figures['made'] - 1}, calls repeated {asked(batches) - packs}\n"
    )


def test_a_run_killed_at_every_point_one_after_the_other_ends_all_the_same(
    batches: BatchRig, database_url: str
) -> None:
    run, shard = batches.plan()
    for point in POINTS:
        killed(batches, database_url, run.run_id, point)
        batches.pass_time()
        if point in POINTS[:1]:
            # The intent is released by two looks a while apart; then the next process makes the batch.
            batches.watch()
            batches.pass_time()
            batches.watch()
    batches.finish(run, shard)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 1, "intended": 1}


@pytest.mark.parametrize(
    ("fault", "made"),
    [
        ("create_500_after_accept", 1),
        ("create_reset_after_accept", 1),
        ("create_500", 1),
        ("create_reset", 1),
        ("upload_500", 1),
        ("upload_reset_after_accept", 1),
    ],
)
def test_a_create_that_ends_in_an_error_is_looked_for_and_never_repeated_on_a_guess(
    batches: BatchRig, fault: str, made: int
) -> None:
    if fault.startswith("upload") and batches.vendor == "anthropic":
        pytest.skip("Anthropic's batches need no file")
    batches.sandbox.control.set_faults({"batches": {"scripted": [{"fault": fault, "nth": 1}]}})
    run, shard = batches.plan()
    batches.line().submit(run, shard)
    batches.finish(run, shard)
    figures = batches.figures(run)
    assert figures == {"lost": 0, "failed": 0, "doubled": 0, "made": made, "intended": made}
    if fault.endswith("after_accept") and not fault.startswith("upload"):
        assert batches.rig.one("select is_adopted from batch") is True


def test_a_foreign_batch_of_the_same_size_and_time_is_neither_taken_nor_cancelled(batches: BatchRig) -> None:
    run, shard = batches.plan()
    vendor = batches.line().batching.supply.batches(batches.vendor, RunKind.SIMULATED)
    assert vendor is not None
    ref = ModelRef(provider=batches.vendor, model=MODELS[batches.vendor])
    request = a_request(model=ModelTable().spec(ref))
    lines = [vendor.line(f"theirs-{i}", request) for i in range(4)]
    foreign = vendor.create(tag="theirs", model=ref.model, lines=lines, timeout_s=20)
    batches.sandbox.control.set_faults({"batches": {"scripted": [{"fault": "create_500", "nth": 1}]}})
    assert batches.line().submit(run, shard)["batches"] == 0
    store = PostgresBatches(batches.rig.connection)
    assert store.unwant(run_no=run.run_no, now=batches.clock.now()) == 1
    batches.finish(run, shard)
    # Theirs, and the one of ours that was made when it was certain that there was none.
    assert {**batches.figures(run), "made": 0} == {"lost": 0, "failed": 0, "doubled": 0, "made": 0, "intended": 1}
    assert len(batches.sandbox.control.batches(batches.vendor)) == 2
    assert vendor.look(foreign.batch_id, timeout_s=20).outcome is BatchOutcome.COMPLETED
    assert batches.rig.rows("select 1 from batch where batch_id = %(id)s", id=foreign.batch_id) == []
