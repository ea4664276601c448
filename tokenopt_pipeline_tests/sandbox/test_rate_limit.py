"""The requests-per-minute bucket."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.sandbox.rate_limit import RequestLimit


def test_requests_beyond_the_limit_wait_for_the_bucket_to_refill() -> None:
    limit = RequestLimit(2)
    assert [limit.admit(0).retry_after_s for _ in range(2)] == [None, None]
    assert limit.admit(0).retry_after_s == 30  # one request in half a minute
    assert limit.admit(29).retry_after_s == pytest.approx(1)
    assert limit.admit(30).retry_after_s is None


def test_the_bucket_says_what_remains_and_when_it_is_full() -> None:
    limit = RequestLimit(60)
    state = limit.admit(0)
    assert (state.limit, state.remaining, state.reset_s) == (60, 59, 1)
    assert limit.look(1).remaining == 60


def test_without_a_limit_everything_is_admitted() -> None:
    limit = RequestLimit(None)
    assert all(limit.admit(0).retry_after_s is None for _ in range(5000))
