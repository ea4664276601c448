"""Figures as a person reads them: unknown is a dash and never zero, and every dollar says what kind it is."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.cli.exits import DONE, STOPPED, WITH_FAILURES
from tokenopt_pipeline.cli.figures import dollars, summary_lines
from tokenopt_pipeline.cli.planning import budget_lines, plan_lines
from tokenopt_pipeline.cli.running import check_line, outcome_code


def a_summary(**changed: Any) -> dict[str, Any]:
    """Of a run that went well."""
    return {
        "run": "r1",
        "collection": "c",
        "schema": "s",
        "mode": "sync",
        "state": "complete",
        "shards": 1,
        "blocks": 1234,
        "outcomes": {
            "skipped": 34,
            "reused": 0,
            "ai_complete": 1200,
            "confirmed": 0,
            "failed": 0,
            "outstanding": 0,
        },
        "skipped_by_rule": {"blank": 34},
        "reused_by_rule": {},
        "failed_by_class": {},
        "packs": 120,
        "packs_from_splits": 0,
        "calls": 120,
        "calls_failed": 0,
        "calls_that_may_be_billed": 0,
        "tokens": {"input": 100_000, "input_cached": 90_000, "cache_write": 1000, "output": 5000},
        "usd": 0.1234,
        "usd_baseline": 1.5,
        "budget_usd": None,
        "kind": "simulated",
        "violations": 0,
        "checks": {"one": {"passed": 1, "evaluated": 1}},
        **changed,
    }


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "—"),
        (0.0, "$0.0000"),
        (0.00004, "$0.0000"),
        (1.5, "$1.5000"),
        (99.99994, "$99.9999"),
        (1234.5, "$1,234.50"),
    ],
)
def test_dollars_show_cents_of_cents_until_a_hundred(amount: float | None, shown: str) -> None:
    assert dollars(amount) == shown


def test_every_dollar_of_a_run_says_its_kind() -> None:
    lines = summary_lines(a_summary())
    assert next(line for line in lines if line.startswith("dollars")) == "dollars     $0.1234 simulated, at list price"
    assert next(line for line in lines if line.startswith("skipped")) == "skipped     34  (blank 34)"
    assert lines[0].endswith("complete, simulated")


def test_what_is_unknown_is_a_dash() -> None:
    lines = summary_lines(a_summary(usd=None, usd_baseline=None))
    assert any(line.startswith("dollars     — ") for line in lines)
    assert any(line.startswith("baseline    — ") for line in lines)


def test_splits_failures_and_lost_answers_are_told_only_when_there_are_some() -> None:
    quiet = "\n".join(summary_lines(a_summary()))
    assert not any(word in quiet for word in ("from splits", "got no answer", "never had"))
    loud = "\n".join(
        summary_lines(a_summary(packs_from_splits=3, calls_failed=2, calls_that_may_be_billed=1, budget_usd=5.0))
    )
    for words in (
        "(3 from splits)",
        "2 tries got no answer",
        "1 sent whose answer was never had (possibly billed)",
        "budget      $5.0000",
    ):
        assert words in loud


def test_a_failed_check_is_named() -> None:
    assert check_line(a_summary()) == "checks      1 of 1 passed"
    summary = a_summary(checks={"one": {"passed": 1, "evaluated": 1}, "two": {"passed": 1, "evaluated": 2}})
    assert check_line(summary) == "checks      1 of 2 passed; FAILED: two (1 of 2 shards)"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, DONE),
        ({"violations": 1}, WITH_FAILURES),
        ({"outcomes": {"failed": 1}}, WITH_FAILURES),
        ({"checks": {"one": {"passed": 0, "evaluated": 1}}}, WITH_FAILURES),
        ({"state": "cancelled"}, STOPPED),
    ],
)
def test_the_exit_code_follows_from_the_figures(changed: dict[str, Any], code: int) -> None:
    assert outcome_code(a_summary(**changed)) == code


def _amounts(calls: int, usd: float | None) -> dict[str, Any]:
    tokens = {"input": 9_000, "input_cached": 0, "cache_write": 0, "output": 10 * calls}
    return {"calls": calls, "tokens": tokens, "usd": usd}


def _a_plan(**changes: Any) -> dict[str, Any]:
    outcomes = {"outstanding": 1000, "reused": 200, "skipped": 34}
    three = {"low": _amounts(60, 0.1), "expected": _amounts(63, 0.1234), "high": _amounts(70, 0.2)}
    route = {"tier": "mid", "model": "a/b", "mode": "sync", "is_chosen": True, "answers_learnt_from": 0, **three}
    return {
        **a_summary(outcomes=outcomes, usd_baseline=None),
        "reused_by_rule": {"answered_before": 200},
        "forecast": three,
        "routes": [route, {**route, "tier": "small", "is_chosen": False, "answers_learnt_from": 1_200}],
        "budget_usd": None,
        "checks": [],
        "too_large": 3,
        "not_reused": ["40 blocks: run r1 answered it under the plain form of answers."],
        "tiers_within_budget": {},
        **changes,
    }


def test_a_plan_says_that_nothing_was_spent_and_what_three_amounts_are_expected() -> None:
    text = "\n".join(plan_lines(_a_plan()))
    assert "nothing was spent" in text
    assert "in 1 shard:" in text
    assert "ask 1,000, reuse 200 (answered_before 200), skip 34 (blank 34)" in text
    assert "$0.1000 / $0.1234 / $0.2000 low / expected / high" in text
    assert "at most 70" in text
    assert "mid       a/b sync: 63 calls" in text
    assert "lengths estimated from the schema alone, an upper estimate" in text
    assert "small     a/b would be sync: 63 calls" in text
    assert "lengths learnt from 1,200 answers" in text
    assert "3 blocks fit into no request" in text
    assert "not reused  40 blocks: run r1 answered it under the plain form of answers." in text
    assert "baseline    — predicted" in text


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (0.3, "$0.3000: enough for the high estimate"),
        (0.15, "enough for what is expected, not for the high estimate"),
        (0.05, "not enough for what is expected"),
    ],
)
def test_a_plan_says_whether_its_budget_is_enough(budget: float, words: str) -> None:
    assert words in "\n".join(plan_lines(_a_plan(budget_usd=budget)))


def test_a_plan_says_what_is_reserved_for_a_conversation_and_when_a_budget_is_too_small_for_one() -> None:
    reserved = {"a/b": 0.4, "c/d": 0.1}
    plan = _a_plan(conversations=10, usd_bound=4.0, usd_reserved=reserved, budget_usd=0.3)
    told = "\n".join(plan_lines(plan))
    assert "10 conversations" in told
    assert "for each while it is going on: about $0.4000 with a/b, about $0.1000 with c/d" in told
    assert "$0.3000: not enough to reserve for one conversation, about $0.4000 with a/b; none begins" in told
    assert "not enough to reserve" not in "\n".join(plan_lines({**plan, "budget_usd": 0.4}))
    nothing_to_ask = "\n".join(plan_lines({**plan, "conversations": 0, "usd_bound": 0.0, "usd_reserved": {}}))
    assert "reserved" not in nothing_to_ask


def test_the_cache_line_counts_outcomes_and_says_why_what_was_missed_was_missed() -> None:
    outcomes = {
        "hit": {"calls": 17, "newest": 20, "why": "900 tokens were read."},
        "ttl_passed": {"calls": 2, "newest": 18, "why": "The last use was 400 s before."},
        "first": {"calls": 1, "newest": 1, "why": "No call before used it."},
    }
    lines = summary_lines(a_summary(cache=outcomes))
    assert "cache       hit 17, ttl passed 2, first 1" in lines
    assert "            ttl passed, call 18: The last use was 400 s before." in lines
    assert not any("No call before" in line for line in lines)


def test_whom_a_run_asked_beside_its_first_model_is_told_with_its_dollars() -> None:
    routing = {
        "fallbacks": {"unavailable": 30, "refused": 2},
        "first_passes": 100,
        "classified": {"small": 70, "mid": 30},
        "second_opinions": 50,
        "escalated": {"mid": 9},
        "earlier_answers_stand": 41,
        "usd": {"first_passes": 0.01, "second_opinions": None, "other_models": 0.5},
    }
    told = summary_lines(a_summary(routing=routing))
    assert "fallback    32 blocks  (unavailable 30, refused 2)" in told
    assert "first pass  100 blocks for $0.0100  (small 70, mid 30)" in told
    assert "compared    50 blocks for —" in told
    assert "escalated   9 blocks  (mid 9)" in told
    assert "            an earlier answer stands for 41 blocks" in told
    plain = summary_lines(
        a_summary(
            routing={
                **routing,
                "fallbacks": {},
                "first_passes": 0,
                "second_opinions": 0,
                "escalated": {},
                "earlier_answers_stand": 0,
            }
        )
    )
    assert plain == summary_lines(a_summary(routing={})) == summary_lines(a_summary())


def test_a_plan_tells_its_checks_and_the_tiers_that_its_budget_chose() -> None:
    assert budget_lines({}) == []
    assert budget_lines({"paragraph": "small", "table": "mid"}) == [
        "tiers       chosen by marginal value to fit the budget: paragraph to small, table to mid"
    ]


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (
            {"batches": 1, "batches_most": 3, "batch_h": 24, "deadline_h": None},
            "an answer of openai/m takes 1 batch, 3 at most; each has ended after 24 h at the latest: 24 h in all, 72 at most\n",
        ),
        (
            {"batches": 2, "batches_most": 9, "batch_h": 48, "deadline_h": 72.0},
            "takes 2 batches one after the other, 9 at most; each has ended after 48 h at the latest: 96 h in all, "
            "432 at most; "
            "none is begun that may end later than batches.deadline_h, 72 h",
        ),
    ],
)
def test_a_plan_says_how_long_an_answer_in_batches_may_take(wait: dict[str, Any], words: str) -> None:
    assert words in "\n".join(plan_lines(_a_plan(waits={"openai/m": wait})))
