"""Figures as a person reads them: unknown is a dash and never zero, and every dollar says what kind it is."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.cli.exits import DONE, STOPPED, WITH_FAILURES
from tokenopt_pipeline.cli.figures import dollars, summary_lines
from tokenopt_pipeline.cli.planning import plan_lines
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


def test_a_plan_says_that_nothing_was_spent_and_that_it_is_an_upper_estimate() -> None:
    outcomes = {"outstanding": 1000, "reused": 200, "skipped": 34}
    text = "\n".join(plan_lines(a_summary(outcomes=outcomes, usd_baseline=None, checks=[], tiers_within_budget={})))
    assert "nothing was spent" in text
    assert "in 1 shard:" in text
    assert "ask 1,000, reuse 200, skip 34 (blank 34)" in text
    assert "up to $0.1234 predicted" in text
    assert "up to — predicted" in text


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
