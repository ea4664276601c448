"""Every call's prefix has one outcome, and a miss says why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tokenopt_pipeline.domain.cache_breaks import CacheOutcome, CacheUse, cache_summary, explain_cache

PREFIX = {"model": "a/m", "system": "s1", "output_schema": "o1", "manner": "m1"}
_START = datetime(2026, 1, 1, tzinfo=UTC)


def a_use(call_no: int, began_s: float = 0.0, /, **changes: Any) -> CacheUse:
    """A marked call that took five seconds and wrote the prefix."""
    began = _START + timedelta(seconds=began_s)
    values: dict[str, Any] = {
        "call_no": call_no,
        "prefix": PREFIX,
        "ttl": "5m",
        "plan_reason": "9 requests share it.",
        "lifetime_s": 300.0,
        "began_at": began,
        "ended_at": began + timedelta(seconds=5),
        "prefix_tokens": 2_000,
        "minimum_tokens": 1_024,
        "cache_read": 0,
        "cache_write": 2_000,
    }
    return CacheUse(**{**values, **changes})


def outcomes(*uses: CacheUse) -> list[CacheOutcome]:
    return [finding.outcome for finding in explain_cache(uses)]


def detail(*uses: CacheUse) -> str:
    return explain_cache(uses)[-1].detail


def test_the_first_writes_and_the_next_reads() -> None:
    second = a_use(2, 10.0, cache_read=2_000, cache_write=0)
    assert outcomes(a_use(1), second) == [CacheOutcome.FIRST, CacheOutcome.HIT]
    assert outcomes(second, a_use(1)) == [CacheOutcome.FIRST, CacheOutcome.HIT]


def test_a_call_that_began_before_the_first_had_ended_could_not_read_what_it_wrote() -> None:
    assert outcomes(a_use(1), a_use(2, 3.0)) == [CacheOutcome.FIRST, CacheOutcome.WRITE_UNDER_WAY]
    assert "Call 1" in detail(a_use(1), a_use(2, 3.0))


def test_an_entry_lives_from_the_start_of_its_last_use() -> None:
    used_again = a_use(2, 200.0, cache_read=2_000, cache_write=0)
    assert outcomes(a_use(1), used_again, a_use(3, 501.0))[2] is CacheOutcome.TTL_PASSED
    assert "301 s before; an entry lives 300 s" in detail(a_use(1), used_again, a_use(3, 501.0))
    assert outcomes(a_use(1), used_again, a_use(3, 499.0))[2] is CacheOutcome.FORGOTTEN
    assert "Call 2 used it 299 s before" in detail(a_use(1), used_again, a_use(3, 499.0))


def test_a_long_mark_outlives_what_a_short_one_does_not() -> None:
    later = a_use(2, 1_000.0, lifetime_s=3_600.0)
    assert outcomes(a_use(1, lifetime_s=3_600.0), later)[1] is CacheOutcome.FORGOTTEN


def test_a_marked_prefix_that_was_not_written_is_below_the_providers_minimum() -> None:
    short = a_use(1, cache_write=0, prefix_tokens=1_000)
    assert outcomes(short) == [CacheOutcome.BELOW_MINIMUM]
    assert "about 1000 tokens was not written; the minimum is 1024" in detail(short)
    assert "unknown length" in detail(a_use(1, cache_write=0, prefix_tokens=None))


def test_where_the_provider_caches_by_itself_nothing_shows_that_it_was_written() -> None:
    by_itself = {"ttl": "auto", "is_automatic": True, "cache_write": 0}
    found = outcomes(a_use(1, **by_itself), a_use(2, 10.0, **by_itself))
    assert found == [CacheOutcome.FIRST, CacheOutcome.FORGOTTEN]


@pytest.mark.parametrize(
    ("changed", "outcome", "told"),
    [
        ({"output_schema": "o2"}, CacheOutcome.PREFIX_CHANGED, "Since call 1 another output_schema."),
        (
            {"system": "s2", "manner": "m2"},
            CacheOutcome.PREFIX_CHANGED,
            "Since call 1 another manner and another system.",
        ),
        ({"tools": "t1"}, CacheOutcome.PREFIX_CHANGED, "Since call 1 another tools."),
        ({"model": "a/n"}, CacheOutcome.MODEL_CHANGED, "Call 1 had the same prefix with a/m."),
        ({"model": "a/n", "system": "s2"}, CacheOutcome.FIRST, "No call before used it."),
    ],
)
def test_a_new_prefix_says_which_part_is_new(changed: dict[str, str], outcome: CacheOutcome, told: str) -> None:
    other = a_use(2, 10.0, prefix={**PREFIX, **changed})
    assert outcomes(a_use(1), other)[1] is outcome
    assert detail(a_use(1), other) == told


def test_calls_without_a_mark_say_why_the_plan_gave_them_none_and_warm_nothing() -> None:
    unmarked = a_use(1, ttl=None, cache_write=0, plan_reason="Caching is off by policy.")
    assert outcomes(unmarked, a_use(2, 10.0)) == [CacheOutcome.NOT_SHARED, CacheOutcome.FIRST]
    assert detail(unmarked) == "Caching is off by policy."
    assert outcomes(a_use(1, prefix=None)) == [CacheOutcome.NOT_SHARED]


def test_the_summary_counts_outcomes_and_tells_the_newest_of_each() -> None:
    reads = [a_use(n, 10.0 * n, cache_read=2_000, cache_write=0) for n in (2, 3)]
    summary = cache_summary(explain_cache([a_use(1), *reads]))
    assert summary == {
        "hit": {"calls": 2, "newest": 3, "why": "2000 tokens were read."},
        "first": {"calls": 1, "newest": 1, "why": "No call before used it."},
    }
