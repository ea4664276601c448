"""Killed at any point of any round, a run loses no turn, asks no model twice and makes no batch too many."""

from __future__ import annotations

import sys

import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.stages.batch_rig import VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.killed_batches import killed
from tokenopt_pipeline_tests.stages.killed_rounds import GIVING_UP, POINTS, work_until_killed
from tokenopt_pipeline_tests.stages.rig import Rig
from tokenopt_pipeline_tests.stages.rounds_rig import RoundsRig, opens

_NOTHING = {"lost": 0, "failed": 0, "doubled": 0}


#: Points between our tables and no vendor are the same for all three: one stands for the others there.
_ALIKE = "anthropic"
_AT_THE_VENDOR = (
    "before the provider is asked",
    "after the provider accepted",
    "during the download",
    "while a turn is settled",
    "before the provider is asked for the next round",
    "after the provider accepted the next round",
)


@pytest.fixture
def rounds(rig: Rig, sandbox: Sandbox, host: McpHost, database_url: str, request: pytest.FixtureRequest) -> RoundsRig:
    sandbox.control.reset()
    batches = BatchRig(rig=rig, sandbox=sandbox, vendor=request.param, open_tools=opens(database_url, host))
    return RoundsRig(batches=batches)


def brought(rounds: RoundsRig, run: Run, shard: Shard, *, ended: int) -> None:
    """The run, with so many of its batches ended and none of their results taken in after the last one."""
    line = rounds.batches.line()
    for _ in range(ended):
        line.advance(run, shard)
        rounds.batches.pass_time()
        rounds.batches.watch(line)
    line.close()


def finish(rounds: RoundsRig, run: Run, shard: Shard) -> None:
    line = rounds.batches.line()
    try:
        rounds.batches.finish(run, shard, line=line)
    finally:
        line.close()


def asked(batches: BatchRig) -> int:
    """Requests in all batches that the provider ever accepted."""
    return sum(int(str(batch["items"])) for batch in batches.sandbox.control.batches(batches.vendor))


@pytest.mark.parametrize(
    ("rounds", "point"),
    [(vendor, point) for vendor in VENDORS for point in POINTS if vendor == _ALIKE or point in _AT_THE_VENDOR],
    indirect=["rounds"],
)
def test_killed_at_any_point_of_a_round_nothing_is_lost_doubled_or_asked_twice(
    rounds: RoundsRig, database_url: str, point: str
) -> None:
    rounds.models_call("echo", turns=1, parallel=2)
    run, shard = rounds.plan()
    brought(rounds, run, shard, ended=POINTS[point])
    killed(rounds.batches, database_url, run.run_id, point, work=work_until_killed)
    finish(rounds, run, shard)
    figures = rounds.batches.figures(run)
    assert figures == {**_NOTHING, "made": 2, "intended": 2}
    assert rounds.rounds() == [(1, 4), (2, 4)]
    assert {state: n for state, n in rounds.calls().items() if state != "failed"} == {"answered": 4, "continued": 4}
    assert asked(rounds.batches) == 8 == rounds.batches.rig.one("select count(*) from ledger")
    # Every call of a model has been told one result.
    assert len(rounds.told()) == 8
    # Shown by `pytest -rP`.
    sys.stdout.write(
        f"{rounds.batches.vendor}, killed {point}: lost {figures['lost']}, doubled {figures['doubled']}, "
        f"extra batches {figures['made'] - 2}, calls repeated {asked(rounds.batches) - 8}\n"
    )


@pytest.mark.parametrize("rounds", [_ALIKE], indirect=True)
@pytest.mark.parametrize("point", GIVING_UP)
def test_killed_while_conversations_give_up_each_pack_is_asked_plainly_once(
    rounds: RoundsRig, database_url: str, point: str
) -> None:
    rounds.models_call("echo", turns=9)
    run, shard = rounds.plan(bridge={"max_turns": 1})
    brought(rounds, run, shard, ended=GIVING_UP[point])
    killed(rounds.batches, database_url, run.run_id, point, work=work_until_killed)
    finish(rounds, run, shard)
    assert rounds.batches.figures(run) == {**_NOTHING, "made": 2, "intended": 2}
    assert rounds.calls() == {"answered": 4, "continued": 4}
    assert asked(rounds.batches) == 8 == rounds.batches.rig.one("select count(*) from ledger")
    assert rounds.batches.rig.one("select count(*) from conversation where cause = 'turns'") == 4
