"""Every error of OpenAI's SDK, and every error answer of the API and of servers like it, as one of ours."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.openai_errors import mapped_errors, refusal
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
from tokenopt_pipeline_tests.adapters.anthropic_exchange import STATUSES, assert_one_line, shared
from tokenopt_pipeline_tests.adapters.provider_exchange import KEY, answering, error_of, recordings
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples

_REQUEST = httpx2.Request("POST", "http://provider.test/v1/responses")

#: Every public exception that carries no HTTP status, and ours.
WITHOUT_STATUS: dict[str, tuple[Exception, type[TokenOptError]]] = {
    "OpenAIError": (openai.OpenAIError("no"), AuthenticationFailed),
    "APIError": (openai.APIError("no", _REQUEST, body=None), ProviderUnavailable),
    "APIConnectionError": (openai.APIConnectionError(request=_REQUEST), ProviderUnavailable),
    "APITimeoutError": (openai.APITimeoutError(_REQUEST), ProviderUnavailable),
    "APIResponseValidationError": (
        openai.APIResponseValidationError(httpx2.Response(200, request=_REQUEST), None),
        ProviderUnavailable,
    ),
    "LengthFinishReasonError": (
        openai.LengthFinishReasonError.__new__(openai.LengthFinishReasonError),
        ProviderUnavailable,
    ),
    "ContentFilterFinishReasonError": (openai.ContentFilterFinishReasonError(), ProviderUnavailable),
    "WebSocketConnectionClosedError": (
        openai.WebSocketConnectionClosedError("no", unsent_messages=[]),
        ProviderUnavailable,
    ),
    "WebSocketQueueFullError": (openai.WebSocketQueueFullError("no"), ProviderUnavailable),
    # Nothing that we call checks webhooks; as any other ValueError it says that the request cannot be written.
    "InvalidWebhookSignatureError": (openai.InvalidWebhookSignatureError("no"), RequestRejected),
}
#: Status class of the SDK -> a status that raises it.
WITH_STATUS = {
    "BadRequestError": 400,
    "AuthenticationError": 401,
    "OAuthError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "ConflictError": 409,
    "UnprocessableEntityError": 422,
    "RateLimitError": 429,
    "InternalServerError": 500,
    "APIStatusError": 418,
}


def an_error(message: str = "no", **members: Any) -> dict[str, Any]:
    """An error body as the API writes it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **members}}


def mapped(problem: Exception) -> TokenOptError:
    """What comes out of the door when this goes in."""
    with pytest.raises(TokenOptError) as caught, mapped_errors("openai", lambda: [KEY]):
        raise problem
    return caught.value


def public_exceptions() -> dict[str, type[Exception]]:
    names = [name for name in {*openai.__all__, *vars(openai)} if not name.startswith("_")]
    found = {name: getattr(openai, name) for name in names}
    return {n: c for n, c in found.items() if inspect.isclass(c) and issubclass(c, Exception)}


def subclasses_of(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from subclasses_of(below)


def test_every_public_exception_of_the_sdk_is_in_a_table() -> None:
    public = public_exceptions()
    with_status = {n for n, c in public.items() if issubclass(c, openai.APIStatusError)}
    assert with_status == set(WITH_STATUS)
    assert set(public) - with_status == set(WITHOUT_STATUS)


@pytest.mark.parametrize("name", WITHOUT_STATUS)
def test_an_exception_without_a_status_becomes_the_tables_error(name: str) -> None:
    problem, ours = WITHOUT_STATUS[name]
    assert type(mapped(problem)) is ours


@pytest.mark.parametrize("name", WITH_STATUS)
def test_an_exception_with_a_status_becomes_the_error_of_its_status(name: str) -> None:
    status = WITH_STATUS[name]
    error = getattr(openai, name)
    extra = {} if name == "OAuthError" else {"message": "no"}
    response = httpx2.Response(status, request=_REQUEST, json=an_error())
    problem = error(**extra, response=response, body=None)
    ours = mapped(problem)
    assert type(ours) is STATUSES.get(status, RequestRejected)
    assert ours.__cause__ is problem


def test_every_exception_of_the_sdk_wherever_it_is_defined_is_caught_at_the_door() -> None:
    for error in subclasses_of(openai.OpenAIError):
        if not issubclass(error, openai.APIStatusError):
            assert_one_line(mapped(error.__new__(error)))


def test_trouble_with_a_workloads_token_is_told_by_its_status() -> None:
    assert isinstance(mapped(openai.OpenAIError("no")), AuthenticationFailed)
    problem = openai._exceptions.SubjectTokenProviderError("no", response=httpx2.Response(503))
    assert isinstance(mapped(problem), ProviderUnavailable)


def test_what_is_no_error_of_the_outside_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="our mistake"), mapped_errors("openai", list):
        raise TypeError("our mistake")


def test_one_of_our_errors_passes_the_door_unchanged() -> None:
    problem = ModelUnknown("no")
    assert mapped(problem) is problem


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_becomes_its_error_and_is_asked_once(status: int) -> None:
    exchange = answering("openai", status, body=an_error("that\nwent wrong"), headers={"x-request-id": "req_1"})
    problem = error_of(exchange)
    assert type(problem) is STATUSES[status]
    assert str(problem) == f"openai answered {status}: that went wrong, request req_1"
    assert len(exchange.sent) == 1


_TOO_LONG = "Your input exceeds the context window of this model. Please adjust your input and try again."
_VLLM = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
_LLAMA = "the request exceeds the available context size. try increasing the context size"
_TPM = "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 30601."


@pytest.mark.parametrize(
    ("status", "error", "ours"),
    [
        pytest.param(429, {"type": "insufficient_quota", "code": "insufficient_quota"}, SpendLimitReached, id="quota"),
        pytest.param(429, {"type": "insufficient_quota", "code": "a_new_code"}, SpendLimitReached, id="by type"),
        pytest.param(429, {"type": None, "code": "project_spend_limit_exceeded"}, SpendLimitReached, id="by code"),
        pytest.param(400, {"code": "billing_hard_limit_reached"}, SpendLimitReached, id="hard limit"),
        pytest.param(429, {"type": "tokens", "code": "rate_limit_exceeded"}, RateLimited, id="rate"),
        pytest.param(
            429, {"message": _TPM, "code": "rate_limit_exceeded"}, ContextWindowExceeded, id="larger than limit"
        ),
        pytest.param(400, {"code": "context_length_exceeded"}, ContextWindowExceeded, id="too long by code"),
        pytest.param(400, {"message": _TOO_LONG}, ContextWindowExceeded, id="too long by words"),
        pytest.param(400, {"message": _VLLM, "type": "BadRequestError", "code": 400}, ContextWindowExceeded, id="vllm"),
        pytest.param(
            400, {"message": _LLAMA, "type": "exceed_context_size_error"}, ContextWindowExceeded, id="llama.cpp"
        ),
        pytest.param(404, {"code": "model_not_found"}, ModelUnknown, id="404 model"),
        pytest.param(400, {"code": "model_not_found", "param": "model"}, ModelUnknown, id="400 model"),
        pytest.param(400, {"code": "invalid_api_key"}, AuthenticationFailed, id="400 key"),
        pytest.param(403, {"code": "unsupported_country_region_territory"}, AuthenticationFailed, id="country"),
        pytest.param(400, {"code": "invalid_json_schema"}, RequestRejected, id="schema"),
    ],
)
def test_a_body_can_say_more_than_its_status(status: int, error: dict[str, Any], ours: type[TokenOptError]) -> None:
    assert type(error_of(answering("openai", status, body=an_error(**error)))) is ours


def test_a_wrong_path_asks_about_the_base_url() -> None:
    problem = error_of(answering("openai", 404, body=an_error("Invalid URL (POST /v1/v1/responses)")))
    assert str(problem).endswith("; does the base URL lead to this API?")


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("Please try again in 174ms. Visit https://platform.openai.com", 0.174),
        ("Please try again in 8.64s. Visit", 8.64),
        ("Please try again in 1m3.5s.", 63.5),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 2h5m0s.", 7500.0),
        ("Please try again in a while.", None),
        ("Please try again later.", None),
    ],
)
def test_the_time_to_wait_is_read_from_the_message_when_no_header_says_it(said: str, wait_s: float | None) -> None:
    problem = refusal("openai", 429, body=an_error(said), headers={})
    assert isinstance(problem, RateLimited)
    assert problem.retry_after_s == (wait_s and pytest.approx(wait_s))
    told = refusal("openai", 429, body=an_error(said), headers={"retry-after-ms": "1500"})
    assert isinstance(told, RateLimited)
    assert told.retry_after_s == 1.5


@given(status=st.integers(300, 599), body=JSON_VALUES)
@examples(100)
def test_no_json_in_an_error_body_gets_past_the_mapping(status: int, body: object) -> None:
    assert_one_line(refusal("openai", status, body=body, headers={}))


@given(words=st.text(max_size=40))
@examples(60)
def test_no_words_about_waiting_get_past_the_mapping(words: str) -> None:
    assert_one_line(refusal("openai", 429, body=an_error(f"try again in {words}"), headers={}))


# --- what was recorded and quoted


def test_every_recorded_error_body_becomes_its_error() -> None:
    asked = ("POST /v1/responses", "POST /v1/chat/completions")
    failed = [r for r in recordings("openai") if r["status"] >= 400 and r["endpoint"].startswith(asked)]
    assert len(failed) == 25
    for record in failed:
        vendor = "openai" if record["endpoint"] == asked[0] else "custom"
        raw = {"content": b""} if record["response_body"] is None else {"json": record["response_body"]}
        problem = error_of(answering(vendor, record["status"], **raw))
        is_unknown = "model_not_found" in json.dumps(record["response_body"])
        assert type(problem) is (ModelUnknown if is_unknown else STATUSES[record["status"]]), record["id"]
        assert_one_line(problem)


def test_every_quoted_error_body_becomes_its_error() -> None:
    lines = shared("data/wire/errors_quoted_in_issues.jsonl").read_text("utf-8").splitlines()
    quoted = [r for r in map(json.loads, lines) if r["provider"] == "openai" and r["status"] == 429]
    problems = [error_of(answering("openai", 429, body=record["response_body"])) for record in quoted]
    assert [type(problem) for problem in problems] == [ContextWindowExceeded, RateLimited]
    assert isinstance(problems[1], RateLimited)
    assert problems[1].retry_after_s == pytest.approx(0.174)
