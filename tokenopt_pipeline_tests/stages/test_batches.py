"""Batches of every vendor, over its own SDK and the sandbox: whatever comes back, every block ends once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.stages.batch_rig import VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig


@pytest.fixture(params=VENDORS)
def batches(rig: Rig, sandbox: Sandbox, request: pytest.FixtureRequest) -> BatchRig:
    sandbox.control.reset()
    return BatchRig(rig=rig, sandbox=sandbox, vendor=request.param)


def test_a_run_goes_in_one_batch_and_every_block_is_answered_at_half_price(batches: BatchRig) -> None:
    run, shard = batches.plan()
    line = batches.line()
    assert line.submit(run, shard) == {"batches": 1, "requests": 4}
    assert line.collect(run, shard) == 0
    assert batches.finish(run, shard) >= 1
    figures = batches.figures(run)
    assert figures == {"lost": 0, "failed": 0, "doubled": 0, "made": 1, "intended": 1}
    assert batches.rig.one("select count(*) from ledger where mode = 'async' and kind = 'simulated'") == 4
    sync_run, sync_shard = batches.plan(mode="sync", reuse={"enabled": False}, caching={"enabled": False})
    batches.line().collect(sync_run, sync_shard)
    half, whole = (
        batches.rig.one("select sum(usd) from ledger where run_no = %(n)s", n=r.run_no) for r in (run, sync_run)
    )
    # Each call is rounded to eight places.
    assert abs(half * 2 - whole) <= Decimal("0.0000002")
    # The same bodies and the same reading: the same answers.
    batches.line().reconcile(sync_run, sync_shard)
    values = [{t: o["staged"] for t, o in batches.rig.overlays(r).items()} for r in (run, sync_run)]
    assert values[0] == values[1]


#: Faults of single lines or of whole files; every block is answered all the same, after another round where it must be.
SPOILT: dict[str, dict[str, Any]] = {
    "some of everything": {
        "rates": {
            "item_missing": 0.1,
            "item_duplicated": 0.1,
            "item_unknown": 0.1,
            "item_errored": 0.1,
            "item_expired": 0.1,
        }
    },
    "cut": {"scripted": [{"fault": "results_cut", "nth": 1}]},
    "gzipped": {"scripted": [{"fault": "results_gzipped", "nth": 1}]},
    "empty": {"scripted": [{"fault": "results_empty", "nth": 1}]},
    "empty every time": {"scripted": [{"fault": "results_empty", "nth": 1, "times": 3}]},
    "of another batch": {"scripted": [{"fault": "results_foreign", "nth": 1}]},
    "garbled": {"scripted": [{"fault": "results_garbled", "nth": 1}]},
    "expired": {"scripted": [{"fault": "batch_expired", "nth": 1}]},
    "stepping back": {"scripted": [{"fault": "status_steps_back", "nth": 1}]},
    "listed twice": {"scripted": [{"fault": "list_repeated", "nth": 1, "times": None}]},
    "never listed": {"scripted": [{"fault": "list_empty", "nth": 1, "times": None}]},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_whatever_comes_back_every_block_ends_once_with_its_own_answer(batches: BatchRig, spoilt: str) -> None:
    batches.sandbox.control.set_faults({"batches": {"seed": 3, **SPOILT[spoilt]}})
    run, shard = batches.plan()
    batches.finish(run, shard)
    figures = batches.figures(run)
    assert {**figures, "made": 0, "intended": 0} == {"lost": 0, "failed": 0, "doubled": 0, "made": 0, "intended": 0}
    # A file that is better the next time needs no second batch.
    most = {"some of everything": 3, "empty every time": 2, "expired": 2}.get(spoilt, 1)
    assert 1 <= figures["made"] == figures["intended"] <= most
    assert batches.rig.rows("select 1 from call where state = 'started'") == []
