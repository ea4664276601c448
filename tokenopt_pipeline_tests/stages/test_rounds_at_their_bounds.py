"""Conversations in batches when servers crash, money runs short, turns are refused and somebody ends the run."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.assembly import RunTables
from tokenopt_pipeline.cli.figures import summary_lines
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig
from tokenopt_pipeline_tests.stages.rounds_rig import RoundsRig, opens
from tokenopt_pipeline_tests.tool_servers import faulty

GOOD = {"lost": 0, "failed": 0, "doubled": 0}


def rig_of(rig: Rig, sandbox: Sandbox, host: McpHost, url: str) -> RoundsRig:
    sandbox.control.reset()
    return RoundsRig(batches=BatchRig(rig=rig, sandbox=sandbox, vendor="anthropic", open_tools=opens(url, host)))


@pytest.fixture
def rounds(rig: Rig, sandbox: Sandbox, host: McpHost, database_url: str) -> RoundsRig:
    return rig_of(rig, sandbox, host, database_url)


def figures(rounds: RoundsRig, run: Run) -> dict[str, int]:
    found = rounds.batches.figures(run)
    assert found["made"] == found["intended"] == len(rounds.rounds())
    return {name: found[name] for name in GOOD}


def summary_of(rounds: RoundsRig, run: Run) -> dict[str, Any]:
    return PostgresSummaries(rounds.batches.rig.connection, tables=RunTables()).summary(run)


def causes(rounds: RoundsRig) -> set[str | None]:
    return {r["cause"] for r in rounds.batches.rig.rows("select cause from conversation")}


def test_a_server_that_crashes_between_two_rounds_is_told_and_started_again(
    rig: Rig, sandbox: Sandbox, database_url: str
) -> None:
    server = ToolServer(name="own", command=sys.executable, args=(faulty.__file__,), tools=tuple(faulty.TOOLS))
    with McpHost([server], environment={}, start_timeout_s=30) as crashing:
        rounds = rig_of(rig, sandbox, crashing, database_url)
        rounds.models_call("crash", "echo", turns=1, parallel=2)
        run, shard = rounds.plan(blocks=8, calls={"concurrency": 1})
        rounds.batches.finish(run, shard)
    assert figures(rounds, run) == GOOD
    assert rounds.rounds() == [(1, 2), (2, 2)]
    told = {is_error: text for _, text, is_error, _ in rounds.told()}
    assert "out of cheese" in told[True]
    assert told[False].startswith('{"result":')
    assert causes(rounds) == {None}


#: What comes back of the first round -> what of it is asked again.
GARBLED: dict[str, dict[str, Any]] = {
    "a file that is no JSON": {"batches": {"scripted": [{"fault": "results_garbled", "nth": 1}]}},
    "another batch's file": {"batches": {"scripted": [{"fault": "results_foreign", "nth": 1}]}},
    "no file": {"batches": {"scripted": [{"fault": "results_empty", "nth": 1}]}},
    "answers that are no JSON": {"seed": 2, "rates": {"malformed": 0.4}},
    "answers that leave blocks out": {"seed": 2, "rates": {"drop_block": 0.4}},
    "cut answers": {"scripted": [{"fault": "truncate", "nth_request": 1, "times": 3}]},
    "refusals by the model": {"scripted": [{"fault": "refuse", "nth_request": 1, "times": 3}]},
}


@pytest.mark.parametrize("garbled", GARBLED)
def test_answers_nobody_can_use_cost_another_turn_and_no_block(rounds: RoundsRig, garbled: str) -> None:
    rounds.batches.sandbox.control.set_faults(GARBLED[garbled])
    rounds.models_call("echo", turns=1)
    run, shard = rounds.plan(batches={"rounds": 8}, retries={"max_attempts": 6})
    rounds.batches.finish(run, shard, most=40)
    assert figures(rounds, run) == GOOD
    assert len(rounds.rounds()) >= 2
    assert "started" not in rounds.calls()


def test_a_turn_that_the_provider_refuses_is_asked_plainly(rounds: RoundsRig) -> None:
    # Longer than the model's context, with bounds that let it get there.
    rounds.models_call("big", turns=1, parallel=4, big={"n_bytes": 1_000_000})
    bridge = {"result_bytes": 1_048_576, "max_tokens": 10_000_000, "max_usd": None}
    run, shard = rounds.plan(blocks=8, bridge=bridge)
    rounds.batches.finish(run, shard)
    assert figures(rounds, run) == GOOD
    assert rounds.rounds() == [(1, 2), (2, 2), (3, 2)]
    assert rounds.calls() == {"continued": 2, "failed": 2, "answered": 2}
    assert causes(rounds) == {"rejected"}


def test_conversations_wait_for_each_other_where_the_budget_has_no_room_for_all(rounds: RoundsRig) -> None:
    rounds.models_call("echo", turns=1)
    run, shard = rounds.plan(bridge={"max_usd": 0.05}, run={"budget_usd": "0.13"})
    rounds.batches.finish(run, shard)
    assert figures(rounds, run) == GOOD
    assert max(n for _, n in rounds.rounds()) < 4
    assert rounds.batches.rig.one("select sum(usd) from ledger") <= Decimal("0.13")


def test_a_run_finished_in_sync_mode_keeps_what_its_rounds_brought_and_a_late_turn_answers_nothing(
    rounds: RoundsRig,
) -> None:
    rounds.models_call("echo", turns=1)
    run, shard = rounds.plan()
    line = rounds.batches.line()
    line.advance(run, shard)
    rounds.batches.pass_time()
    rounds.batches.watch(line)
    # The second round is under way.
    line.advance(run, shard)
    assert rounds.rounds() == [(1, 4), (2, 4)]
    told = {"conversations": 4, "going_on": 4, "turns": 4, "tool_calls": 4, "calls_made": 4, "gave_up": {}}
    summary = summary_of(rounds, run)
    assert summary["bridge"] == told
    assert "bridge      4 conversations of 4 turns, 4 going on; 4 tool calls, 4 made" in summary_lines(summary)
    store = PostgresBatches(rounds.batches.rig.connection)
    assert store.set_run_mode(run, mode="sync", reason="somebody wanted it now") == 4
    PostgresRuns(rounds.batches.rig.connection).set_mode(run.run_no, "sync")
    finished = PostgresRuns(rounds.batches.rig.connection).find(run.run_id)
    sync = rounds.batches.line()
    sync.collect(finished, shard)
    sync.reconcile(finished, shard)
    sync.close()
    rounds.batches.pass_time()
    rounds.batches.watch(line)
    line.receive(finished, shard)
    line.close()
    assert figures(rounds, run) == GOOD
    # The first turns stay turns, the answers are those of sync mode, and the late ones are paid for and kept.
    assert rounds.calls() == {"continued": 4, "answered": 4, "superseded": 4}
    assert rounds.batches.sandbox.control.stats()["calls"] == 12
    assert rounds.batches.rig.one("select count(*) from ledger") == 12
    assert rounds.batches.rig.rows(
        "select distinct l.mode from overlay o join ledger l using (call_no) where o.status = 'ai_complete'"
    ) == [{"mode": "sync"}]


def test_a_cancelled_run_keeps_the_turns_that_came_and_calls_no_tool_for_them(rounds: RoundsRig) -> None:
    rounds.models_call("echo", turns=3)
    run, shard = rounds.plan()
    line = rounds.batches.line()
    line.advance(run, shard)
    rounds.batches.pass_time()
    rig = rounds.batches.rig
    assert PostgresRuns(rig.connection).cancel(run.run_id, now=rounds.batches.clock.now())
    PostgresBatches(rig.connection).unwant(run_no=run.run_no, now=rounds.batches.clock.now())
    rounds.batches.watch(line)
    line.receive(PostgresRuns(rig.connection).find(run.run_id), shard)
    line.close()
    assert rounds.rounds() == [(1, 4)]
    assert rounds.calls() == {"continued": 4}
    assert rounds.told() == []
    assert rig.one("select count(*) from ledger") == 4
