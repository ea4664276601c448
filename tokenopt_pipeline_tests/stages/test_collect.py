"""Calls side by side: waits, stops and what is kept when a provider says no."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from datetime import datetime
from typing import Any

import pytest

from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    FatalForRun,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SpendLimitReached,
    TokenOptError,
)
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.stages import collect as collect_module
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, always, correct, on_call, on_text

ONE_AT_A_TIME = {"calls": {"concurrency": 1}}
LIMITED = RateLimited("slow down")
UNAVAILABLE = ProviderUnavailable("overloaded")
LOST = AuthenticationFailed("the key is not valid")


def test_every_block_gets_its_own_values(rig: Rig) -> None:
    rig.ingest(*clauses(95))
    run, shard, line = rig.packed(packing={"pack_size": 4})

    assert line.collect(run, shard) == 24
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 95}
    assert rig.wrong(run) == []


def test_never_more_requests_are_in_flight_than_the_policy_allows(rig: Rig) -> None:
    rig.ingest(*clauses(12))
    together = threading.Barrier(3)

    def three_meet(_: Asked) -> Reply:
        # Breaks when fewer than three requests are ever in flight together.
        together.wait(timeout=10)
        return None

    rig.provider.script = three_meet
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 3})
    line.collect(run, shard)

    assert rig.provider.peak == 3


def test_answers_that_are_in_are_stored_in_the_order_of_their_calls(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.ingest(*clauses(8))
    # The collector finds all answers at once, in a set.
    monkeypatch.setattr(collect_module, "wait", lambda calls, **_: wait(calls))
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 8})
    settle, stored = line.calls.settle, []

    def noting(call: AnsweredCall, *, now: datetime) -> None:
        settle(call, now=now)
        stored.append(call.call_no)

    monkeypatch.setattr(line.calls, "settle", noting)
    line.collect(run, shard)

    assert len(stored) == 8
    assert stored == sorted(stored)


def test_whoever_asks_it_to_stop_gets_the_answers_in_flight_stored_and_nothing_more_asked(rig: Rig) -> None:
    rig.ingest(*clauses(12))
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 3})
    line.stop = lambda: len(rig.provider.asked) >= 3

    with pytest.raises(KeyboardInterrupt):
        line.collect(run, shard)

    asked = len(rig.provider.asked)
    assert 3 <= asked < 12
    assert rig.one("select count(*) from response") == asked
    line = rig.line()
    line.collect(run, shard)
    line.reconcile(run, shard)
    assert rig.statuses(run) == {"ai_complete": 12}
    assert len(rig.provider.asked) == 12


def test_a_wait_for_a_slow_answer_is_broken_off_to_look_whether_to_stop(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    asked_to_stop = threading.Event()

    def slow(_: Asked) -> Reply:
        # Answers only when the collector has looked while it waited.
        assert asked_to_stop.wait(timeout=10)
        return None

    rig.provider.script = slow
    run, shard, line = rig.packed()
    looks: list[None] = []

    def look() -> bool:
        looks.append(None)
        if len(looks) > 2:
            asked_to_stop.set()
        return asked_to_stop.is_set()

    line.stop = look
    with pytest.raises(KeyboardInterrupt):
        line.collect(run, shard)
    assert rig.one("select count(*) from response") == 1


@pytest.mark.parametrize("problem", [LIMITED, UNAVAILABLE], ids=["rate limited", "unavailable"])
def test_a_try_without_an_answer_uses_up_no_attempt(rig: Rig, problem: TokenOptError) -> None:
    rig.ingest(*clauses(8))
    rig.provider.script = lambda asked: problem if asked.nth < 8 else None
    run, shard, line = rig.packed(packing={"pack_size": 2}, retries={"max_attempts": 1})

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 8}
    assert rig.one("select max(attempts_before) from pack_block") == 0
    failed = rig.rows("select distinct error_class from call where state = 'failed'")
    assert failed == [{"error_class": type(problem).__name__}]
    assert rig.one("select count(*) from call where state = 'failed'") == 4 * 7


def test_waits_double_and_stop_at_the_ceiling(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    rig.provider.script = lambda asked: LIMITED if asked.nth < 7 else None
    run, shard, line = rig.packed(retries={"backoff_base_s": 0.5, "backoff_ceiling_s": 5.0})

    line.collect(run, shard)

    assert rig.clock.waits == pytest.approx([0.5, 1, 2, 4, 5, 5])


@pytest.mark.parametrize(("asked_s", "waited_s"), [(17.0, 17.0), (90.0, 20.0)], ids=["below the ceiling", "above"])
@pytest.mark.parametrize("error", [RateLimited, ProviderUnavailable])
def test_a_provider_that_says_when_to_come_back_is_obeyed_up_to_the_ceiling(
    rig: Rig, error: type[RateLimited | ProviderUnavailable], asked_s: float, waited_s: float
) -> None:
    rig.ingest(*clauses(1))
    rig.provider.script = on_call({1: error("later", retry_after_s=asked_s)})
    run, shard, line = rig.packed(retries={"backoff_ceiling_s": 20.0})

    line.collect(run, shard)

    assert rig.clock.waits == pytest.approx([waited_s])


def test_a_rate_limit_pauses_every_pack_of_the_model_and_no_other_model(rig: Rig) -> None:
    rig.ingest(*clauses(3), "Short 0.", "Short 1.")
    asked_at: list[tuple[str, float]] = []

    def script(asked: Asked) -> Reply:
        asked_at.append((asked.texts[0], rig.clock.monotonic_s() - 1000))
        return (
            RateLimited("slow down", retry_after_s=30) if asked.texts[0] == clauses(3)[0] and asked.nth == 1 else None
        )

    rig.provider.script = script
    rule = {"id": "short", "tier": "small", "max_block_tokens": 3}
    run, shard, line = rig.packed(packing={"pack_size": 1}, routing={"rules": [rule]}, **ONE_AT_A_TIME)
    line.collect(run, shard)

    times: dict[str, list[float]] = {}
    for text, at in asked_at:
        times.setdefault(text, []).append(at)
    assert times["Short 0."] == times["Short 1."] == [0.0]
    assert times[clauses(3)[0]] == [0.0, 30.0]
    assert times[clauses(3)[1]] == times[clauses(3)[2]] == [30.0]


def test_an_unavailable_provider_holds_back_only_the_pack_it_failed(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    asked_at: list[float] = []

    def script(asked: Asked) -> Reply:
        asked_at.append(rig.clock.monotonic_s() - 1000)
        return UNAVAILABLE if asked.number == 1 else None

    rig.provider.script = script
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 2})

    line.collect(run, shard)

    assert sorted(rig.provider.texts) == sorted([*clauses(3), rig.provider.asked[0].texts[0]])
    assert asked_at == [0, 0, 0, 0.5]


def test_a_provider_that_answers_nobody_is_not_asked_by_every_pack_in_turn(rig: Rig) -> None:
    rig.ingest(*clauses(60))
    rig.provider.script = always(UNAVAILABLE)
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 4}, retries={"transient_tries": 5})

    with pytest.raises(ProviderUnavailable):
        line.collect(run, shard)

    # Five rounds of four, and what was started while a round was coming in.
    assert len(rig.provider.asked) < 6 * 4
    assert rig.clock.waits == pytest.approx([0.5, 1, 2, 4])
    line.reconcile(run, shard)
    assert rig.statuses(run) == {"submitted": 60}


def test_a_provider_that_answers_now_and_then_is_asked_until_all_is_answered(rig: Rig) -> None:
    rig.ingest(*clauses(8))
    every_other = clauses(8)[1::2]
    rig.provider.script = lambda asked: UNAVAILABLE if asked.nth == 1 and asked.texts[0] in every_other else None
    run, shard, line = rig.packed(packing={"pack_size": 1}, retries={"transient_tries": 3}, **ONE_AT_A_TIME)

    assert line.collect(run, shard) == 8


@pytest.mark.parametrize("problem", [LIMITED, UNAVAILABLE], ids=["rate limited", "unavailable"])
def test_a_provider_that_stays_away_stops_the_collect_and_a_later_one_finishes(
    rig: Rig, problem: TokenOptError
) -> None:
    rig.ingest(*clauses(9))
    rig.provider.script = on_text("Clause 4:", problem)
    run, shard, line = rig.packed(packing={"pack_size": 1}, retries={"transient_tries": 3}, **ONE_AT_A_TIME)

    with pytest.raises(type(problem), match=str(problem)):
        line.collect(run, shard)

    assert rig.provider.texts.count(clauses(9)[4]) == 3
    line.reconcile(run, shard)
    answered = {t for t, o in rig.overlays(run).items() if o["status"] == "ai_complete"}
    assert {o["status"] for o in rig.overlays(run).values()} == {"ai_complete", "submitted"}
    rig.provider.script = always(correct)
    rig.provider.asked.clear()

    later = rig.line()
    later.collect(run, shard)
    later.reconcile(run, shard)

    assert sorted(rig.provider.texts) == sorted(set(clauses(9)) - answered)
    assert rig.statuses(run) == {"ai_complete": 9}
    assert rig.wrong(run) == []


@pytest.mark.parametrize("problem", [LOST, SpendLimitReached("no money left")], ids=["key", "spend limit"])
def test_a_refused_key_stops_at_once_and_what_was_in_flight_is_kept(
    rig: Rig, problem: FatalForRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.ingest(*clauses(20))
    refused = threading.Event()
    three_in_flight = threading.Barrier(3)

    def script(asked: Asked) -> Reply:
        assert asked.number <= 3, "a request was made after the refusal"
        three_in_flight.wait(timeout=10)
        if asked.number == 2:
            return problem
        # Answered while the collector has stopped already.
        assert refused.wait(timeout=10)
        return None

    rig.provider.script = script
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 3})
    fail = line.calls.fail

    def noting(call_no: int, **told: Any) -> None:
        fail(call_no, **told)
        refused.set()

    monkeypatch.setattr(line.calls, "fail", noting)
    with pytest.raises(type(problem), match=str(problem)):
        line.collect(run, shard)

    assert len(rig.provider.asked) == 3
    assert rig.one("select count(*) from ledger") == 2
    assert rig.rows("select error_class, count(*) as n from call where state = 'failed' group by 1") == [
        {"error_class": type(problem).__name__, "n": 1}
    ]
    line.reconcile(run, shard)
    assert rig.statuses(run) == {"ai_complete": 2, "submitted": 18}
    paid = {text for a in rig.provider.asked if a.number != 2 for text in a.texts}
    rig.provider.script = always(correct)
    rig.provider.asked.clear()

    rig.line().collect(run, shard)
    rig.line().reconcile(run, shard)

    assert paid.isdisjoint(rig.provider.texts)
    assert rig.statuses(run) == {"ai_complete": 20}


def test_a_provider_that_refuses_the_first_five_requests_stops_the_run_before_it_spoils_every_block(rig: Rig) -> None:
    rig.ingest(*clauses(40))
    rig.provider.script = always(RequestRejected("output_config: unknown field", status=400))
    run, shard, line = rig.packed(packing={"pack_size": 2}, **ONE_AT_A_TIME)

    with pytest.raises(FatalForRun, match="the first 5 requests were all refused: output_config: unknown field"):
        line.collect(run, shard)

    assert len(rig.provider.asked) == 5
    line.reconcile(run, shard)
    assert rig.statuses(run) == {"submitted": 40}
    rig.provider.script = always(correct)
    rig.line().collect(run, shard)
    rig.line().reconcile(run, shard)
    assert rig.statuses(run) == {"ai_complete": 40}


def test_refusals_after_an_answer_fail_their_blocks_and_not_the_run(rig: Rig) -> None:
    rig.ingest(*clauses(10))
    rig.provider.script = lambda asked: None if asked.number == 1 else RequestRejected("no", status=400)
    run, shard, line = rig.packed(packing={"pack_size": 1}, **ONE_AT_A_TIME)

    line.collect(run, shard)
    line.reconcile(run, shard)

    assert rig.statuses(run) == {"ai_complete": 1, "failed": 9}
    assert {o["error_class"] for o in rig.overlays(run).values()} == {None, "rejected"}


def test_characters_that_no_database_keeps_are_replaced_wherever_a_provider_says_them(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    strange = "\0 and \ud800"

    def script(asked: Asked) -> Reply:
        if asked.number == 1:
            return ProviderUnavailable(strange)
        if asked.number == 2:
            return RequestRejected(strange, status=400)
        whole = correct(asked)
        return ModelResponse(
            text=whole.text + strange,
            stop=whole.stop,
            usage=whole.usage,
            request_id=None,
            simulated=True,
            refusal=strange,
        )

    rig.provider.script = script
    run, shard, line = rig.packed(packing={"pack_size": 1}, **ONE_AT_A_TIME)
    line.collect(run, shard)
    line.reconcile(run, shard)

    assert set(rig.statuses(run)) == {"failed"}
    kept = "\N{REPLACEMENT CHARACTER} and ?"
    assert rig.one("select max(error_message) from call where error_class = 'ProviderUnavailable'") == kept
    assert rig.one("select distinct refusal from response") == kept


def test_an_error_that_no_provider_may_raise_is_told_and_no_answer_in_flight_is_lost(rig: Rig) -> None:
    rig.ingest(*clauses(5))
    all_in_flight = threading.Barrier(5)

    def script(asked: Asked) -> Reply:
        all_in_flight.wait(timeout=10)
        return ValueError(f"a bug on call {asked.number}") if asked.number < 4 else None

    rig.provider.script = script
    run, shard, line = rig.packed(packing={"pack_size": 1}, calls={"concurrency": 5})

    with pytest.raises(ValueError, match="a bug on call"):
        line.collect(run, shard)

    assert rig.one("select count(*) from ledger") == 2
