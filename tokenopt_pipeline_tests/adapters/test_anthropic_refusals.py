"""Error answers, by status and by body, from the API and from what stands before it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.anthropic_errors import refusal
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    ContextWindowExceeded,
    ModelUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SpendLimitReached,
    TokenOptError,
)
from tokenopt_pipeline_tests.adapters.anthropic_exchange import (
    STATUSES,
    Exchange,
    an_error,
    answering,
    assert_one_line,
    error_of,
    recordings,
    shared,
)
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_becomes_its_error_and_is_asked_once(status: int) -> None:
    exchange = answering(status, body=an_error(message="that\nwent wrong"), headers={"request-id": "req_1"})
    problem = error_of(exchange)
    assert type(problem) is STATUSES[status]
    assert str(problem) == f"anthropic answered {status}: that went wrong, request req_1"
    assert len(exchange.sent) == 1


@pytest.mark.parametrize("headers", [{"x-should-retry": "true"}, {"retry-after": "0"}])
def test_the_sdk_never_tries_again_by_itself(headers: dict[str, str]) -> None:
    exchange = answering(500, body=an_error(), headers=headers)
    error_of(exchange)
    assert len(exchange.sent) == 1
    assert "x-stainless-retry-count" not in exchange.sent[0].headers or (
        exchange.sent[0].headers["x-stainless-retry-count"] == "0"
    )


def test_the_status_of_a_rejection_can_be_read() -> None:
    problem = error_of(answering(422, body=an_error()))
    assert isinstance(problem, RequestRejected)
    assert problem.status == 422


@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        pytest.param(
            400,
            an_error(message="You have reached your specified API usage limits. You will regain access on 2026-12-01."),
            SpendLimitReached,
            id="own limit",
        ),
        pytest.param(
            400,
            an_error(
                message="Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
            ),
            SpendLimitReached,
            id="no credit",
        ),
        pytest.param(
            429, an_error("rate_limit_error", code="any_spend_limit_reached"), SpendLimitReached, id="spend limit"
        ),
        pytest.param(403, an_error("billing_error"), SpendLimitReached, id="billing"),
        pytest.param(
            400, an_error(message="This organization has been disabled."), AuthenticationFailed, id="disabled"
        ),
        pytest.param(
            400,
            an_error(message="prompt is too long: 215000 tokens > 200000 maximum"),
            ContextWindowExceeded,
            id="too long",
        ),
        pytest.param(
            400,
            an_error(message="input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
            ContextWindowExceeded,
            id="too long with the answer",
        ),
        pytest.param(429, an_error("rate_limit_error", "prompt is too long"), RateLimited, id="no 400"),
    ],
)
def test_a_body_can_say_more_than_its_status(status: int, body: dict[str, Any], ours: type[TokenOptError]) -> None:
    assert type(error_of(answering(status, body=body))) is ours


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("overloaded_error", RateLimited),
        ("rate_limit_error", RateLimited),
        ("api_error", ProviderUnavailable),
        ("authentication_error", AuthenticationFailed),
        ("invalid_request_error", RequestRejected),
        ("unheard_of", ProviderUnavailable),
    ],
)
def test_an_error_body_with_status_200_is_an_error(kind: str, ours: type[TokenOptError]) -> None:
    assert type(error_of(answering(200, body=an_error(kind, "Overloaded")))) is ours


_PAGE = "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


@pytest.mark.parametrize(
    ("status", "raw", "ours", "said"),
    [
        pytest.param(502, {"html": _PAGE}, ProviderUnavailable, "502: no message", id="502 page"),
        pytest.param(200, {"html": _PAGE}, ProviderUnavailable, "cannot be read", id="200 page"),
        pytest.param(404, {"html": _PAGE}, ModelUnknown, "does the base URL lead", id="404 page"),
        pytest.param(502, {"text": "upstream\nreset"}, ProviderUnavailable, "upstream reset", id="502 text"),
        pytest.param(200, {"text": "OK"}, ProviderUnavailable, "cannot be read", id="200 text"),
        pytest.param(500, {"content": b""}, ProviderUnavailable, "no message", id="500 empty"),
        pytest.param(200, {"content": b""}, ProviderUnavailable, "cannot be read", id="200 empty"),
        pytest.param(500, {"content": b'{"type":"err'}, ProviderUnavailable, '{"type":"err', id="500 cut"),
        pytest.param(200, {"content": b'{"type":"mess'}, ProviderUnavailable, "cannot be read", id="200 cut"),
        pytest.param(200, {"content": b"\xff\xfe\x00"}, ProviderUnavailable, "cannot be read", id="200 bytes"),
        pytest.param(500, {"content": b"\xff\xfe\x00"}, ProviderUnavailable, "500", id="500 bytes"),
        pytest.param(400, {"json": {"error": "bad model"}}, RequestRejected, "bad model", id="gateway error"),
        pytest.param(422, {"json": {"detail": "no such field"}}, RequestRejected, "no such field", id="gateway detail"),
        pytest.param(500, {"json": None}, ProviderUnavailable, "no message", id="500 null"),
        pytest.param(418, {"json": {"error": {"message": {"a": 1}}}}, RequestRejected, "no message", id="odd message"),
    ],
)
def test_what_is_no_error_body_of_the_api_is_told_in_one_line(
    status: int, raw: dict[str, Any], ours: type[TokenOptError], said: str
) -> None:
    problem = error_of(answering(status, **raw))
    assert type(problem) is ours
    assert said in str(problem)
    assert_one_line(problem)


@given(status=st.integers(300, 599), body=JSON_VALUES)
@examples(100)
def test_no_json_in_an_error_body_gets_past_the_mapping(status: int, body: object) -> None:
    assert_one_line(refusal(status, body=body, headers={}))


@given(body=JSON_VALUES)
@examples(50)
def test_no_json_in_a_200_gets_past_the_mapping(body: object) -> None:
    content = json.dumps(body).encode()
    assert_one_line(error_of(Exchange(lambda _: httpx2.Response(200, content=content))))


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)  # noqa: TID251 - a header's date is about now


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "Mon, 99 Jan 99999 99:99:99 GMT"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_the_time_to_wait_is_read_in_whatever_form_it_comes(
    status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    problem = refusal(status, body=an_error(), headers=headers)
    assert isinstance(problem, RateLimited | ProviderUnavailable)
    assert problem.retry_after_s == (None if wait_s is None else pytest.approx(wait_s))


@given(value=st.text(max_size=40))
@examples(100)
def test_no_retry_after_gets_past_the_mapping(value: str) -> None:
    problem = refusal(429, body=None, headers={"retry-after": value})
    assert isinstance(problem, RateLimited)
    assert problem.retry_after_s is None or 0 <= problem.retry_after_s < float("inf")


# --- what was recorded and quoted


def test_every_recorded_error_body_becomes_its_error() -> None:
    failed = [r for r in recordings() if r["status"] >= 400 and r["endpoint"].startswith("POST /v1/messages")]
    assert failed
    for record in failed:
        problem = error_of(answering(record["status"], body=record["response_body"]))
        assert type(problem) is STATUSES[record["status"]], record["id"]
        assert record["response_body"]["error"]["message"] in str(problem)


def test_every_quoted_error_body_becomes_its_error() -> None:
    lines = shared("data/wire/errors_quoted_in_issues.jsonl").read_text("utf-8").splitlines()
    quoted = [record for record in map(json.loads, lines) if record["provider"] == "anthropic"]
    assert len(quoted) == 5
    for record in quoted:
        problem = error_of(answering(record["status"], body=record["response_body"]))
        assert type(problem) is STATUSES[record["status"]], record["source"]
        assert_one_line(problem)


@pytest.mark.parametrize("zone", [" GMT", " -0000", ""])
def test_a_date_to_wait_for_is_measured_from_now_in_universal_time(zone: str) -> None:
    # Written here and not among the parameters: those are made when tests are collected, minutes before.
    date = _in(100).removesuffix(" GMT") + zone
    problem = refusal(429, body=an_error(), headers={"retry-after": date})
    assert isinstance(problem, RateLimited)
    assert problem.retry_after_s == pytest.approx(100, abs=30)
