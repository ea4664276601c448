"""Conversations in async mode: a batch per round, the same answers, and every turn stored before anything follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.findings import PostgresFindings
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.stages.batch_rig import VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig
from tokenopt_pipeline_tests.stages.rounds_rig import THINKERS, RoundsRig, opens


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


#: What comes back of a round's batch -> whether the same turn goes into one more batch.
SPOILT: dict[str, tuple[dict[str, Any], bool]] = {
    "shuffled and doubled": ({"rates": {"item_duplicated": 0.5}}, False),
    "some errored": ({"seed": 3, "rates": {"item_errored": 0.4}}, True),
    "some missing": ({"seed": 3, "rates": {"item_missing": 0.4}}, True),
    "expired": ({"scripted": [{"fault": "batch_expired", "nth": 1}]}, True),
    "cut": ({"scripted": [{"fault": "results_cut", "nth": 1}]}, False),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_whatever_comes_back_of_a_round_every_conversation_ends_with_one_answer(rounds: RoundsRig, spoilt: str) -> None:
    faults, is_repeated = SPOILT[spoilt]
    rounds.batches.sandbox.control.set_faults({"batches": faults})
    rounds.models_call("echo", turns=1)
    run, shard = rounds.plan(batches={"rounds": 6})
    # Seven rounds, each of whose files is fetched three times where something is missing.
    rounds.batches.finish(run, shard, most=60)
    assert figures(rounds, run) == GOOD
    assert (len(rounds.rounds()) > 2) is is_repeated
    calls = rounds.calls()
    assert (calls["continued"], calls["answered"]) == (4, 4)
    assert "started" not in calls


# A server that crashes is stages/test_bridge.py's: this one lives in the test's own process.
@pytest.mark.parametrize("rounds", ["anthropic"], indirect=True)
@pytest.mark.parametrize("tool", ["hang", "lie", "raise", "fail", "inject", "big"])
def test_a_tool_that_misbehaves_between_two_rounds_is_told_and_ends_no_conversation(
    rounds: RoundsRig, tool: str
) -> None:
    arguments: Any = {"big": {"n_bytes": 3_000_000}} if tool == "big" else {}
    rounds.models_call(tool, turns=1, **arguments)
    run, shard = rounds.plan(bridge={"call_timeout_s": 0.5})
    rounds.batches.finish(run, shard)
    assert figures(rounds, run) == GOOD
    assert rounds.rounds() == [(1, 4), (2, 4)]
    assert {is_error for _, _, is_error, _ in rounds.told()} == {tool in ("hang", "lie", "raise", "fail")}
    assert max(len(text) for _, text, _, _ in rounds.told()) < 200_000


@pytest.mark.parametrize("finishes", [True, False])
def test_a_conversation_with_no_time_for_another_batch_is_asked_plainly(rounds: RoundsRig, finishes: bool) -> None:
    rounds.models_call("echo", turns=9)
    run, shard = rounds.plan(batches={"deadline_h": 50.0, "finish_sync": finishes})
    line = rounds.batches.line()
    line.advance(run, shard)
    rounds.batches.pass_time(30 * 3600)
    rounds.batches.watch(line)
    rounds.batches.finish(run, shard, line=line)
    line.close()
    assert rounds.batches.figures(run)["failed"] == 0
    causes = rounds.batches.rig.rows("select distinct cause from conversation")
    assert causes == [{"cause": "deadline"}]
    plain = rounds.batches.rig.rows(
        "select distinct l.mode from ledger l join call c using (call_no) where c.state = 'answered'"
    )
    assert plain == [{"mode": "sync" if finishes else "async"}]
