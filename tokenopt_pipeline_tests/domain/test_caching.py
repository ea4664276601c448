"""A prefix is marked when it is read again and long enough, and the plan says why or why not."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.domain.caching import (
    AUTOMATIC,
    LONG,
    SHORT,
    USUAL_PRICES,
    CachePrices,
    PrefixWarmth,
    cache_prices,
    dearest_usage,
    expected_spacing_s,
    plan_cache,
    request_in_output_tokens,
)
from tokenopt_pipeline.domain.policy import CachingPolicy
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.factories import a_model


@pytest.mark.parametrize(
    ("prefix_tokens", "requests", "ttl"),
    [
        # A minimum of 1,024 real tokens at 1.28 real per counted: 800 * 1.28 = 1,024, 799 * 1.28 = 1,022.72.
        pytest.param(800, 2, "5m", id="just long enough, twice"),
        pytest.param(799, 2, None, id="just too short"),
        pytest.param(800, 1, None, id="one request"),
        pytest.param(800, 0, None, id="no request"),
        pytest.param(50_000, 1_000, "5m", id="long and often"),
    ],
)
def test_a_prefix_is_marked_from_the_model_s_minimum_and_two_requests_on(
    prefix_tokens: int, requests: int, ttl: str | None
) -> None:
    model = a_model(token_ratio=1.28, cache_minimum_tokens=1_024)
    plan = plan_cache(CachingPolicy(), model, prefix_tokens=prefix_tokens, expected_requests=requests)
    assert plan.ttl == ttl


def test_caching_that_is_off_by_policy_marks_nothing() -> None:
    plan = plan_cache(CachingPolicy(enabled=False), a_model(), prefix_tokens=50_000, expected_requests=9)
    assert (plan.ttl, plan.reason) == (None, "Caching is off by policy.")


def test_every_reason_names_the_figures_it_rests_on() -> None:
    model = a_model(cache_minimum_tokens=4_096)
    short = plan_cache(CachingPolicy(), model, prefix_tokens=4_000, expected_requests=9)
    long = plan_cache(CachingPolicy(), model, prefix_tokens=5_000, expected_requests=9)
    alone = plan_cache(CachingPolicy(), model, prefix_tokens=5_000, expected_requests=1)
    assert "4000" in short.reason
    assert "4096" in short.reason
    assert str(model.ref) in short.reason
    assert "9 requests" in long.reason
    assert "5000" in long.reason
    assert "one request" in alone.reason


def ttl_of(requests: int, spacing_s: float, prices: CachePrices = USUAL_PRICES) -> str | None:
    model = a_model(cache_minimum_tokens=1)
    return plan_cache(
        CachingPolicy(), model, prefix_tokens=5_000, expected_requests=requests, spacing_s=spacing_s, prices=prices
    ).ttl


@pytest.mark.parametrize(
    ("requests", "spacing_s", "ttl"),
    [
        pytest.param(2, 1, SHORT, id="a quarter more pays from two on: 1.25 + 0.1 < 2"),
        pytest.param(500, 1, SHORT, id="side by side nothing is gained from a longer life"),
        # e^(-300/200) = 0.22 of the uses would come too late for the short one, and e^(-3600/200) for the long one.
        pytest.param(100, 200, LONG, id="minutes apart the longer life pays"),
        pytest.param(2, 900, None, id="twice as much does not pay for two: 2 + 0.1 > 2"),
        pytest.param(3, 900, LONG, id="and pays from three on: 2 + 0.2 < 3"),
        pytest.param(50, 20_000, None, id="hours apart each would write again"),
    ],
)
def test_the_mark_lives_as_long_as_it_pays(requests: int, spacing_s: float, ttl: str | None) -> None:
    assert ttl_of(requests, spacing_s) == ttl


def test_a_dear_write_needs_more_reads() -> None:
    """OpenAI's 12 hours cost 2.5 plain prices."""
    dear = CachePrices(write_short=9.0, write_long=2.5, read=0.1)
    assert (ttl_of(2, 1, dear), ttl_of(3, 1, dear)) == (None, LONG)


def test_the_prices_are_those_of_the_list() -> None:
    per_token = {"input_uncached": "2", "cache_write_5m": "2.5", "cache_write_1h": "5", "cache_read": "0.1"}

    def usd(usage: TokenUsage) -> Decimal:
        return sum((getattr(usage, name) * Decimal(price) for name, price in per_token.items()), Decimal(0))

    assert cache_prices(usd, 700) == CachePrices(write_short=1.25, write_long=2.5, read=0.05)
    assert cache_prices(lambda _: None, 700) == USUAL_PRICES
    assert cache_prices(lambda _: Decimal(0), 0) is None


def test_where_input_costs_nothing_there_is_nothing_to_save() -> None:
    plan = plan_cache(CachingPolicy(), a_model(), prefix_tokens=50_000, expected_requests=9, prices=None)
    assert (plan.ttl, "costs nothing" in plan.reason) == (None, True)


def test_a_provider_that_caches_by_itself_gets_no_mark_but_a_leader() -> None:
    model = a_model(caches_by_itself=True)
    plan = plan_cache(CachingPolicy(), model, prefix_tokens=5_000, expected_requests=9)
    assert (plan.ttl, "caches by itself" in plan.reason) == (AUTOMATIC, True)
    same_price = CachePrices(write_short=1.0, write_long=1.0, read=1.0)
    plan = plan_cache(CachingPolicy(), model, prefix_tokens=5_000, expected_requests=9, prices=same_price)
    assert (plan.ttl, "no lower price" in plan.reason) == (None, True)


def test_rarer_prefixes_are_used_less_often_and_batches_least() -> None:
    often = expected_spacing_s(requests=100, of_all=100, concurrency=8, mode="sync")
    rarely = expected_spacing_s(requests=2, of_all=100, concurrency=8, mode="sync")
    assert (often, rarely) == (1.25, 62.5)
    assert expected_spacing_s(requests=100, of_all=100, concurrency=8, mode="async") == 900.0
    assert expected_spacing_s(requests=0, of_all=1, concurrency=1, mode="sync") == 10.0


WROTE, READ, NOTHING = TokenUsage(cache_write_5m=9), TokenUsage(cache_read=9), TokenUsage(input_uncached=9)


def test_a_prefix_is_warm_from_the_start_of_its_last_use_for_most_of_its_life() -> None:
    model, cold = a_model(), PrefixWarmth()
    assert cold.needs_leader(SHORT, model, 0.0)
    warm = cold.after(WROTE, ttl=SHORT, began_s=100.0, followed=False)
    assert [warm.needs_leader(SHORT, model, at) for at in (100.0, 339.0, 341.0)] == [False, False, True]
    used = warm.after(READ, ttl=SHORT, began_s=300.0, followed=True)
    assert not used.needs_leader(SHORT, model, 539.0)
    assert not warm.needs_leader(LONG, model, 2_900.0)


def test_an_older_use_that_ends_later_does_not_make_it_colder() -> None:
    warm = PrefixWarmth().after(READ, ttl=SHORT, began_s=100.0, followed=True)
    assert warm.after(READ, ttl=SHORT, began_s=50.0, followed=True).used_at_s == 100.0


@pytest.mark.parametrize(
    ("ttl", "usage", "why"),
    [
        (SHORT, WROTE, "what was written was not found again"),
        (SHORT, NOTHING, "nothing was written"),
        (AUTOMATIC, NOTHING, "what was written was not found again"),
    ],
)
def test_after_three_followers_that_read_nothing_nobody_waits_any_more(ttl: str, usage: TokenUsage, why: str) -> None:
    model = a_model()
    warmth = PrefixWarmth().after(WROTE, ttl=ttl, began_s=0.0, followed=False)
    for _ in range(2):
        warmth = warmth.after(usage, ttl=ttl, began_s=1.0, followed=True)
        assert warmth.given_up is None
    warmth = warmth.after(usage, ttl=ttl, began_s=1.0, followed=True)
    assert warmth.given_up == f"3 requests in a row read nothing: {why}"
    assert not warmth.needs_leader(ttl, model, 10_000.0)
    assert warmth.after(usage, ttl=ttl, began_s=2.0, followed=True).given_up == warmth.given_up
    # Whoever reads after all makes it worth waiting again.
    assert warmth.after(READ, ttl=ttl, began_s=3.0, followed=True).given_up is None


def test_leaders_of_a_prefix_that_is_never_written_are_given_up_too() -> None:
    warmth = PrefixWarmth()
    for n in range(3):
        assert warmth.needs_leader(SHORT, a_model(), float(n))
        warmth = warmth.after(NOTHING, ttl=SHORT, began_s=float(n), followed=False)
    assert warmth.given_up is not None


def test_where_the_provider_caches_by_itself_a_leaders_answer_is_all_there_is_to_go_by() -> None:
    warmth = PrefixWarmth().after(NOTHING, ttl=AUTOMATIC, began_s=0.0, followed=False)
    assert not warmth.needs_leader(AUTOMATIC, a_model(), 1.0)


def _dollars(usage: TokenUsage) -> Decimal:
    return Decimal(3 * usage.input_uncached + usage.cache_read + 15 * usage.output)


@pytest.mark.parametrize(
    ("enabled", "minimum", "usd", "expected"),
    [
        # 700 tokens and 300 of the provider's own
        pytest.param(True, 1_000, _dollars, 1_000 / 15, id="read from the cache"),
        pytest.param(True, 1_001, _dollars, 200.0, id="too short for the cache"),
        pytest.param(False, 0, _dollars, 200.0, id="caching off"),
        pytest.param(True, 0, lambda _: None, math.inf, id="no price"),
        pytest.param(True, 0, lambda _: Decimal(0), math.inf, id="free"),
    ],
)
def test_a_request_less_saves_its_prefix_in_tokens_of_output(
    enabled: bool, minimum: int, usd: Any, expected: float
) -> None:
    policy, model = CachingPolicy(enabled=enabled), a_model(cache_minimum_tokens=minimum)
    saved = request_in_output_tokens(policy, model, usd, prefix_tokens=700)
    assert saved == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ttl", "kind"),
    [(LONG, "cache_write_1h"), (SHORT, "cache_write_5m"), (AUTOMATIC, "input_uncached"), (None, "input_uncached")],
)
def test_a_call_may_be_billed_for_writing_all_of_its_input(ttl: str | None, kind: str) -> None:
    most = dearest_usage(ttl, input_tokens=900, output_tokens=40)
    assert most == TokenUsage(output=40, **{kind: 900})


def test_a_prefix_that_nobody_finds_is_not_written() -> None:
    model = a_model(cache_minimum_tokens=1_000)

    def ttl(hit_share: float) -> str | None:
        plan = plan_cache(
            CachingPolicy(), model, prefix_tokens=5_000, expected_requests=20, spacing_s=900.0, hit_share=hit_share
        )
        return plan.ttl

    assert (ttl(0.0), ttl(0.3), ttl(1.0)) == (None, None, LONG)
