"""Rounds, budgets, limits, cancelling and finishing otherwise: whatever happens to batches, each block ends once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.openai_batches import OpenAIBatches
from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.adapters.postgres.findings import PostgresFindings
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.domain import batches as domain_batches
from tokenopt_pipeline.domain.errors import BudgetExceeded, FatalForRun, RequestRejected
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.stages import submit
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig, clauses


@pytest.fixture
def batches(rig: Rig, sandbox: Sandbox) -> BatchRig:
    sandbox.control.reset()
    return BatchRig(rig=rig, sandbox=sandbox, vendor="openai")


def spoil(batches: BatchRig, **plan: Any) -> None:
    batches.sandbox.control.set_faults({"batches": plan})


def ledger_is_whole(batches: BatchRig, run: Run, shard: Shard) -> bool:
    return PostgresFindings(batches.rig.connection).ledger_equals_calls(run, shard).passed


def test_after_the_last_round_blocks_are_asked_in_sync_mode(batches: BatchRig) -> None:
    spoil(batches, rates={"item_errored": 1.0})
    run, shard = batches.plan(batches={"rounds": 2})
    batches.finish(run, shard)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 2, "intended": 2}
    assert batches.rig.rows("select round from batch order by 1") == [{"round": 1}, {"round": 2}]
    assert batches.rig.rows("select distinct mode from ledger") == [{"mode": "sync"}]
    reasons = batches.rig.rows("select distinct route_reason from pack")
    assert all("After 2 of 2 batches it is asked in sync mode." in r["route_reason"] for r in reasons)


def test_after_the_last_round_blocks_fail_where_the_policy_says_so_and_nobody_is_asked(batches: BatchRig) -> None:
    spoil(batches, rates={"item_errored": 1.0})
    run, shard = batches.plan(batches={"rounds": 1, "finish_sync": False})
    batches.finish(run, shard)
    figures = batches.figures(run)
    assert (figures["lost"], figures["failed"], figures["made"]) == (0, 16, 1)
    details = batches.rig.rows("select distinct error_detail from overlay")
    assert [d["error_detail"] for d in details] == [
        "After 1 of 1 batches without an answer its blocks fail, as batches.finish_sync is false."
    ]
    assert batches.rig.rows("select 1 from ledger") == []
    assert PostgresRuns(batches.rig.connection).find(run.run_id).state == "complete"


def test_a_round_asks_only_what_the_one_before_left_open(batches: BatchRig) -> None:
    spoil(batches, seed=1, rates={"item_errored": 0.4})
    run, shard = batches.plan(blocks=40)
    batches.finish(run, shard)
    sizes = [b["n_requests"] for b in batches.rig.rows("select n_requests from batch order by batch_no")]
    assert sizes[0] == 10
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 1
    assert sizes[1] < 10
    assert batches.figures(run)["lost"] == 0


def test_a_budget_lets_as_many_requests_go_as_it_can_pay_at_their_ceiling(batches: BatchRig) -> None:
    run, shard = batches.plan()
    line = batches.line()
    line.submit(run, shard)
    (ceiling,) = {r["c"] for r in batches.rig.rows("select round(sum(usd_ceiling), 6) as c from call")}
    batches.rig.connection.execute("update call set state = 'failed', ended_at = now(), error_class = 'x'")
    batches.rig.connection.execute("update batch set state = 'closed', outcome = 'unborn'")
    batches.rig.connection.execute("update run set budget_usd = %s", [ceiling * Decimal("0.6")])
    assert line.submit(run, shard) == {"batches": 1, "requests": 2}
    # The rest waits for what the answers leave over, and is no reason to stop.
    assert line.submit(run, shard) == {"batches": 0, "requests": 0}
    batches.finish(run, shard, line=line)
    assert batches.figures(run)["lost"] == 0
    spent = batches.rig.one("select sum(usd) from ledger")
    assert spent <= ceiling * Decimal("0.6")


def test_a_budget_with_no_room_for_a_single_request_stops_the_run(batches: BatchRig) -> None:
    run, shard = batches.plan(run={"budget_usd": "0.000001"})
    with pytest.raises(BudgetExceeded, match="the run stopped before it"):
        batches.line().submit(run, shard)
    assert batches.rig.rows("select 1 from batch") == []
    assert batches.rig.rows("select 1 from call") == []


def test_a_shard_that_one_batch_cannot_hold_goes_in_several(batches: BatchRig, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"openai": replace(domain_batches.LIMITS["openai"], max_requests=3)}
    monkeypatch.setattr(submit, "LIMITS", {**domain_batches.LIMITS, **small})
    run, shard = batches.plan()
    assert batches.line().submit(run, shard) == {"batches": 2, "requests": 4}
    batches.finish(run, shard)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 2, "intended": 2}


def test_a_run_finished_in_sync_mode_keeps_late_answers_as_nobodys(batches: BatchRig) -> None:
    run, shard = batches.plan()
    line = batches.line()
    line.submit(run, shard)
    store = PostgresBatches(batches.rig.connection)
    assert store.set_run_mode(run, mode="sync", reason="By request.") == 4
    line.collect(run, shard)
    assert line.reconcile(run, shard) == {"ai_complete": 16}
    before = batches.rig.overlays(run)
    batches.pass_time()
    batches.watch(line)
    done = PostgresRuns(batches.rig.connection).find(run.run_id)
    assert done.state == "complete"
    assert line.receive(done, shard) == {"calls": 0, "late": 4, "released": 0}
    line.reconcile(done, shard)
    assert batches.rig.overlays(run) == before
    assert batches.rig.one("select count(*) from ledger where mode = 'async'") == 4
    assert batches.rig.one("select count(*) from call where state = 'superseded'") == 4
    assert ledger_is_whole(batches, done, shard)
    assert batches.open_batches() == []


def test_a_cancelled_run_keeps_what_was_done_and_asks_for_nothing_more(batches: BatchRig) -> None:
    run, shard = batches.plan()
    line = batches.line()
    line.submit(run, shard)
    runs, store = PostgresRuns(batches.rig.connection), PostgresBatches(batches.rig.connection)
    runs.cancel(run.run_id, now=batches.clock.now())
    store.unwant(run_no=run.run_no, now=batches.clock.now())
    batches.watch(line)
    batches.pass_time()
    batches.watch(line)
    assert batches.rig.one("select outcome from batch") == "cancelled"
    cancelled = runs.find(run.run_id)
    line.advance(cancelled, shard)
    line.reconcile(cancelled, shard)
    done = batches.rig.one("select count(*) from model_output where finding = 'valid'")
    assert batches.rig.statuses(run).get("ai_complete", 0) == done
    assert batches.open_batches() == []
    assert len(batches.sandbox.control.batches("openai")) == 1
    assert ledger_is_whole(batches, run, shard)


def test_a_run_in_batches_and_one_without_go_on_at_the_same_time(batches: BatchRig) -> None:
    run, shard = batches.plan()
    line = batches.line()
    line.submit(run, shard)
    other, other_shard = batches.plan(mode="sync", packing={"pack_size": 5})
    line.collect(other, other_shard)
    assert line.reconcile(other, other_shard)["ai_complete"] == 16
    assert batches.rig.statuses(run) == {"submitted": 16}
    batches.finish(run, shard, line=line)
    assert batches.figures(run)["lost"] == 0


def test_a_batch_that_the_provider_forgot_is_given_up_when_it_could_not_be_under_way(batches: BatchRig) -> None:
    run, shard = batches.plan()
    batches.line().submit(run, shard)
    batches.sandbox.control.reset()
    batches.pass_time(3600)
    batches.watch()
    (batch,) = batches.open_batches()
    assert batch.state == "submitted"
    assert "does not know batch" in batches.rig.one("select problem from batch")
    batches.clock.ahead_s += 25 * 3600
    batches.watch()
    (batch,) = batches.open_batches()
    assert (batch.state, batch.outcome) == ("ended", "failed")
    batches.finish(run, shard)
    assert batches.figures(run)["lost"] == 0


def test_a_batch_that_is_refused_ends_the_run_with_its_reason_and_frees_its_packs(
    batches: BatchRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RequestRejected("openai answered 400: no batches for you", status=400)

    run, shard = batches.plan()
    line = batches.line()
    with monkeypatch.context() as refusing:
        refusing.setattr(OpenAIBatches, "create", refuse)
        with pytest.raises(
            FatalForRun, match="the provider refuses the batch: openai answered 400: no batches for you"
        ):
            line.submit(run, shard)
    assert batches.open_batches() == []
    # Once it is set right, the same packs go.
    batches.finish(run, shard)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 1, "intended": 1}


def test_filling_of_many_megabytes_changes_nothing(batches: BatchRig) -> None:
    spoil(batches, huge_bytes=30_000_000, scripted=[{"fault": "results_huge", "nth": 1}])
    run, shard = batches.plan()
    batches.finish(run, shard)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 1, "intended": 1}
    assert batches.rig.one("select count(*) from batch_result") == 4


def test_packs_in_batches_keep_their_prefix_for_the_longer_time(rig: Rig) -> None:
    rig.model = replace(rig.model, cache_minimum_tokens=1)
    rig.ingest(*clauses(40))
    for mode, ttl in (("async", "1h"), ("sync", "5m")):
        run, line = rig.plan(rig.request(mode=mode)), rig.line()
        shard = Shard(run_no=run.run_no, shard_no=0)
        line.decide(run, shard)
        line.pack(run, shard)
        packs = rig.rows("select distinct cache_ttl, mode from pack where run_no = %(n)s", n=run.run_no)
        assert packs == [{"cache_ttl": ttl, "mode": mode}]
