"""Conversations in async mode: a batch per round, the same answers, and every turn stored before anything follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.findings import PostgresFindings
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.stages.batch_rig import VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig
from tokenopt_pipeline_tests.stages.rounds_rig import THINKERS, RoundsRig, open_host, opens


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def host() -> Iterator[McpHost]:
    with open_host() as opened:
        yield opened


@pytest.fixture(params=VENDORS)
def rounds(rig: Rig, sandbox: Sandbox, host: McpHost, database_url: str, request: pytest.FixtureRequest) -> RoundsRig:
    sandbox.control.reset()
    batches = BatchRig(rig=rig, sandbox=sandbox, vendor=request.param, open_tools=opens(database_url, host))
    return RoundsRig(batches=batches)


GOOD = {"lost": 0, "failed": 0, "doubled": 0}


def figures(rounds: RoundsRig, run: Any) -> dict[str, int]:
    found = rounds.batches.figures(run)
    assert found["made"] == found["intended"] == len(rounds.rounds())
    return {name: found[name] for name in GOOD}


def test_each_turn_of_all_conversations_goes_into_the_rounds_one_batch(rounds: RoundsRig) -> None:
    rounds.models_call("echo", turns=2, parallel=2)
    run, shard = rounds.plan(routing={"model": f"{rounds.batches.vendor}/{THINKERS[rounds.batches.vendor]}"})
    rounds.batches.finish(run, shard)
    # What thinking models have signed was passed back: the sandbox refuses a conversation in which it was changed.
    assert rounds.rounds() == [(1, 4), (2, 4), (3, 4)]
    assert rounds.calls() == {"continued": 8, "answered": 4}
    assert figures(rounds, run) == GOOD
    assert len(rounds.told()) == 16
    assert not any(is_error for _, _, is_error, _ in rounds.told())
    findings = PostgresFindings(rounds.batches.rig.connection)
    assert findings.ledger_equals_calls(run, shard).passed
    assert rounds.batches.rig.rows("select distinct mode from ledger") == [{"mode": "async"}]
