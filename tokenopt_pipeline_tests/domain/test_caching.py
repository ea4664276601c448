"""A prefix is marked when it is read again and long enough, and the plan says why or why not."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.caching import plan_cache
from tokenopt_pipeline.domain.policy import CachingPolicy
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
