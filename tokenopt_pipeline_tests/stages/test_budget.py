"""What is spent and what may still be billed never pass the budget together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.connection import connect, row
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.domain.errors import BudgetExceeded, ProviderUnavailable
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import CallStore
from tokenopt_pipeline_tests.postgres_servers import wait_until
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, Script, on_call

ALONE: dict[str, Any] = {"packing": {"pack_size": 1, "single_block_output_tokens": 100}}


def ceiling(rig: Rig) -> Decimal:
    """What one call of one block may cost, found by making one in a run without a budget."""
    rig.ingest("Clause 0: a block of its own that is about as long as others are.", collection="trial")
    run = rig.plan(rig.request(collection="trial", **ALONE))
    rig.finish(run)
    found = rig.one("select max(usd_ceiling) from call where run_no = %(run)s", run=run.run_no)
    rig.provider.asked.clear()
    assert isinstance(found, Decimal)
    return found


def with_budget(usd: Decimal, **policy: Any) -> dict[str, Any]:
    return {**ALONE, "run": {"budget_usd": str(round(usd, 6))}, **policy}


class WatchedCalls:
    """A call store that notes, after each intent, what is spent and reserved. All stores are called by one thread."""

    def __init__(self, rig: Rig, run: Run, calls: CallStore) -> None:
        self.settle, self.fail = calls.settle, calls.fail
        self.leave, self.supersede, self.asked_again = calls.leave, calls.supersede, calls.asked_again
        self.committed: list[Decimal] = []
        self._rig, self._run, self._begin = rig, run, calls.begin

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        call_no = self._begin(pack, fingerprint=fingerprint, usd_ceiling=usd_ceiling, now=now)
        self.committed.append(
            self._rig.one(
                "select coalesce((select sum(usd) from ledger where run_no = %(run)s), 0)"
                " + (select sum(usd_ceiling) from call where run_no = %(run)s and state = 'started')",
                run=self._run.run_no,
            )
        )
        return call_no


def spent(rig: Rig, run: Run) -> Decimal:
    found = rig.one("select coalesce(sum(usd), 0) from ledger where run_no = %(run)s", run=run.run_no)
    assert isinstance(found, Decimal)
    return found


def in_pairs() -> Script:
    """Answers when another request has come, or when none does for a moment."""
    pair = threading.Barrier(2)

    def script(_: Asked) -> Reply:
        with suppress(threading.BrokenBarrierError):
            pair.wait(timeout=0.1)
        return None

    return script


def test_spent_and_reserved_never_pass_the_budget_however_many_calls_run_at_once(rig: Rig) -> None:
    one = ceiling(rig)
    budget = 5 * one
    rig.ingest(*clauses(40))
    rig.provider.script = in_pairs()
    run, shard, line = rig.packed(**with_budget(budget, calls={"concurrency": 8}))
    calls = WatchedCalls(rig, run, line.calls)
    line.calls = calls

    with pytest.raises(BudgetExceeded, match="the run stopped before it"):
        line.collect(run, shard)

    assert rig.provider.peak > 1
    assert max(calls.committed) <= round(budget, 6)
    # What is reserved for a call in flight may come back with its answer, so it does not stop the run.
    assert budget - one < spent(rig, run) <= budget
    assert rig.one("select count(*) from call where state = 'started'") == 0


def test_a_run_that_its_budget_stopped_keeps_its_answers_and_asks_nothing_more(rig: Rig) -> None:
    budget = 2 * ceiling(rig)
    rig.ingest(*clauses(30))
    run, shard, line = rig.packed(**with_budget(budget, calls={"concurrency": 1}))
    with pytest.raises(BudgetExceeded) as stopped:
        line.collect(run, shard)
    asked = len(rig.provider.asked)

    with pytest.raises(BudgetExceeded):
        rig.line().collect(run, shard)
    rig.line().reconcile(run, shard)

    assert stopped.value.limit_usd == round(budget, 6)
    assert stopped.value.needed_usd > budget
    assert len(rig.provider.asked) == asked
    assert rig.statuses(run) == {"ai_complete": asked, "submitted": 30 - asked}
    assert rig.wrong(run) == []


def test_the_next_run_with_more_money_asks_only_what_is_open(rig: Rig) -> None:
    budget = 2 * ceiling(rig)
    rig.ingest(*clauses(30))
    run, shard, line = rig.packed(**with_budget(budget))
    with pytest.raises(BudgetExceeded):
        line.collect(run, shard)
    line.reconcile(run, shard)
    answered = set(rig.provider.texts)

    more = rig.plan(**with_budget(100 * budget))
    rig.finish(more)

    assert len(rig.provider.texts) == len(set(rig.provider.texts)) == 30
    assert 0 < len(answered) < 30
    assert rig.statuses(more) == {"ai_complete": 30}


def test_a_call_that_was_lost_in_a_crash_keeps_counting(rig: Rig) -> None:
    one = ceiling(rig)
    rig.ingest(*clauses(3))
    run, shard, line = rig.packed(**with_budget(2 * one + one / 2))
    pack = line.packs.open_packs(shard)[0]
    for _ in range(2):
        # Begun, and then the process died.
        line.calls.begin(pack, fingerprint="lost", usd_ceiling=one, now=rig.clock.now())

    with pytest.raises(BudgetExceeded):
        rig.line().collect(run, shard)

    assert rig.provider.asked == []


def test_a_call_of_unknown_price_never_begins_under_a_budget(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    _, shard, line = rig.packed(**with_budget(Decimal(1)))
    with pytest.raises(BudgetExceeded):
        line.calls.begin(line.packs.open_packs(shard)[0], fingerprint="f", usd_ceiling=None, now=rig.clock.now())
    assert rig.one("select count(*) from call") == 0


def test_two_processes_that_begin_at_once_do_not_both_take_the_last_of_the_budget(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(2))
    run, shard, line = rig.packed(**with_budget(Decimal("1.5")))
    packs = line.packs.open_packs(shard)

    def begin_elsewhere() -> int:
        with connect(database_url, application="elsewhere") as other:
            calls = rig.line(other).calls
            return calls.begin(packs[1], fingerprint="b", usd_ceiling=Decimal(1), now=rig.clock.now())

    waiting = "select count(*) from pg_stat_activity where application_name = 'elsewhere' and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as elsewhere, connect(database_url) as onlooker:
        with rig.connection.transaction():
            line.calls.begin(packs[0], fingerprint="a", usd_ceiling=Decimal(1), now=rig.clock.now())
            other = elsewhere.submit(begin_elsewhere)
            wait_until(lambda: replace(rig, connection=onlooker).one(waiting) == 1)
        with pytest.raises(BudgetExceeded):
            other.result()

    assert rig.one("select sum(usd_ceiling) from call where run_no = %(run)s", run=run.run_no) == 1


def test_a_call_whose_connection_broke_after_it_was_sent_keeps_counting_at_its_ceiling(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    lost = ProviderUnavailable("the connection broke", may_be_billed=True)
    rig.provider.script = on_call({1: lost, 2: ProviderUnavailable("refused")})
    run, shard, line = rig.packed(run={"budget_usd": 1})
    line.collect(run, shard)
    rows = rig.rows("select state, may_be_billed, usd_ceiling from call order by call_no")
    assert [(r["state"], r["may_be_billed"]) for r in rows] == [
        ("failed", True),
        ("failed", False),
        ("answered", False),
    ]
    used = row(rig.connection, "used_budget", run_no=run.run_no, pack_no=None)
    assert used is not None
    assert used["used_usd"] == rows[0]["usd_ceiling"] + rig.one("select sum(usd) from ledger")
    summary = PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).summary(run)
    assert (summary["calls_that_may_be_billed"], summary["calls_failed"]) == (1, 2)
