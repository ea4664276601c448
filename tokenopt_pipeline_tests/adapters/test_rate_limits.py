"""What is left of a rate limit is read from the headers that vendors send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tokenopt_pipeline.adapters import anthropic_errors, openai_errors
from tokenopt_pipeline.adapters.rate_limits import Limit, headroom_in
from tokenopt_pipeline.domain.errors import RateLimited
from tokenopt_pipeline.domain.flow import Headroom
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.adapters.provider_exchange import recordings

_USED = TokenUsage(input_uncached=900, cache_read=5_000, cache_write_5m=100, output=200)


def reset_of(text: str) -> float | None:
    headers = {"left": "1", "reset": text}
    found = headroom_in(headers, requests=Limit(left="left", reset="reset"), tokens=[])
    return None if found is None else found.reset_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("174ms", 0.174),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("16.227s", 16.227),
        ("1h2m3.5s", 3_723.5),
        ("0s", 0.0),
        ("2m", 120),
    ],
)
def test_a_duration_is_read_in_every_form(text: str, seconds: float) -> None:
    assert reset_of(text) == pytest.approx(seconds)


def test_a_time_is_read_as_the_seconds_until_then() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)  # noqa: TID251 - what is read is relative to now
    assert reset_of(soon.isoformat()) == pytest.approx(30, abs=2)
    assert reset_of(soon.strftime("%Y-%m-%dT%H:%M:%SZ")) == pytest.approx(30, abs=2)
    assert reset_of("2020-01-01T00:00:00Z") == 0.0


@pytest.mark.parametrize("text", ["", "soon", "12"])
def test_a_reset_that_cannot_be_read_says_nothing(text: str) -> None:
    assert reset_of(text) is None


@pytest.mark.parametrize("left", ["many", "-1", "1.5", "9" * 30, ""])
def test_a_count_that_cannot_be_read_says_nothing(left: str) -> None:
    assert headroom_in({"left": left}, requests=Limit(left="left", reset="r"), tokens=[]) is None


def test_anthropics_scarcest_kind_of_token_decides_and_cache_reads_count_for_none() -> None:
    headers = {
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-input-tokens-remaining": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "1000",
        "anthropic-ratelimit-output-tokens-reset": "2020-01-01T00:00:00Z",
    }
    # Input: 8 000 for 1 000 each; output: 1 000 for 200 each, which fits fewer.
    assert anthropic_errors.headroom(headers, _USED) == Headroom(
        requests_left=49, tokens_left=1_000, tokens_of_request=200, reset_s=0.0
    )


def test_openais_tokens_count_whether_cached_or_not() -> None:
    headers = {"x-ratelimit-remaining-tokens": "59971", "x-ratelimit-reset-tokens": "29ms"}
    assert openai_errors.headroom(headers, _USED) == Headroom(
        tokens_left=59_971, tokens_of_request=6_200, reset_s=0.029
    )


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (anthropic_errors.refusal, {"anthropic-ratelimit-requests-remaining": "0"}),
        (lambda *a, **k: openai_errors.refusal("openai", *a, **k), {"x-ratelimit-remaining-requests": "0"}),
    ],
)
def test_a_refusal_brings_what_is_left(refusal: Any, headers: dict[str, str]) -> None:
    problem = refusal(429, body={"error": {"message": "slow down"}}, headers=headers)
    assert isinstance(problem, RateLimited)
    assert problem.headroom == Headroom(requests_left=0)


@pytest.mark.parametrize(("vendor", "read"), [("anthropic", anthropic_errors), ("openai", openai_errors)])
def test_every_recorded_rate_limit_header_is_read(vendor: str, read: Any) -> None:
    told = [r["response_headers"] for r in recordings(vendor) if any("-remaining" in h for h in r["response_headers"])]
    assert len(told) > 80
    for headers in told:
        found = read.headroom(headers)
        assert found is not None
        assert found.reset_s is not None
