"""Every error of Google's SDK, and every error answer of the Gemini API, as one of ours."""

from __future__ import annotations

import inspect
import json
from typing import Any

import httpx2
import pytest
from google.genai import errors
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.google_errors import mapped_errors, refusal
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
from tokenopt_pipeline_tests.adapters.provider_exchange import (
    KEY,
    Exchange,
    answering,
    error_of,
    recordings,
)
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def an_error(message: str = "no", status: str = "INVALID_ARGUMENT", *details: dict[str, Any]) -> dict[str, Any]:
    """An error body as the API writes it."""
    return {"error": {"code": 400, "message": message, "status": status, "details": list(details)}}


#: Every public exception, an instance of it, and ours.
PUBLIC: dict[str, tuple[Exception, type[TokenOptError]]] = {
    "APIError": (errors.APIError(302, {}), ProviderUnavailable),
    "ClientError": (errors.ClientError(400, an_error()), RequestRejected),
    "ServerError": (errors.ServerError(500, an_error()), ProviderUnavailable),
    "UnknownApiResponseError": (errors.UnknownApiResponseError("no"), ProviderUnavailable),
    "ContinuationInterruptedError": (errors.ContinuationInterruptedError("no"), ProviderUnavailable),
    # Of function calls and of our own arguments, of which we make none.
    "UnknownFunctionCallArgumentError": (errors.UnknownFunctionCallArgumentError("no"), RequestRejected),
    "UnsupportedFunctionError": (errors.UnsupportedFunctionError("no"), RequestRejected),
    "FunctionInvocationError": (errors.FunctionInvocationError("no"), RequestRejected),
}


def mapped(problem: Exception) -> TokenOptError:
    """What comes out of the door when this goes in."""
    with pytest.raises(TokenOptError) as caught, mapped_errors(lambda: [KEY]):
        raise problem
    return caught.value


def test_every_public_exception_of_the_sdk_is_in_the_table() -> None:
    classes = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)}
    assert {n for n, c in classes.items() if not issubclass(c, Warning)} == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_exception_becomes_the_tables_error(name: str) -> None:
    problem, ours = PUBLIC[name]
    found = mapped(problem)
    assert type(found) is ours
    assert_one_line(found)


def test_every_subclass_of_the_sdks_error_is_caught_by_its_status() -> None:
    assert {error.__name__ for error in errors.APIError.__subclasses__()} == {"ClientError", "ServerError"}


def test_what_is_no_error_of_the_outside_is_not_hidden() -> None:
    with pytest.raises(TypeError, match="our mistake"), mapped_errors(list):
        raise TypeError("our mistake")


def test_one_of_our_errors_passes_the_door_unchanged() -> None:
    problem = ModelUnknown("no")
    assert mapped(problem) is problem


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_becomes_its_error_and_is_asked_once(status: int) -> None:
    exchange = answering("google", status, body=an_error("that\nwent wrong", "UNKNOWN"))
    problem = error_of(exchange)
    assert type(problem) is STATUSES[status]
    assert str(problem) == f"google answered {status}: that went wrong"
    assert len(exchange.sent) == 1


@pytest.mark.parametrize("status", [204, 302, 304])
def test_what_is_neither_an_answer_nor_an_error_is_unavailable(status: int) -> None:
    assert isinstance(error_of(answering("google", status, content=b"")), ProviderUnavailable)


_KEY_WORDS = "API key not valid. Please pass a valid API key."
_LONG = "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
_PLACE = "User location is not supported for the API use."
_CAP = "Your project has exceeded its monthly spending cap."


@pytest.mark.parametrize(
    ("status", "body", "ours"),
    [
        pytest.param(400, an_error(_KEY_WORDS), AuthenticationFailed, id="key by words"),
        pytest.param(
            400,
            an_error("no", "INVALID_ARGUMENT", {"@type": _ERROR_INFO, "reason": "API_KEY_INVALID"}),
            AuthenticationFailed,
            id="key by reason",
        ),
        pytest.param(400, an_error(_PLACE, "FAILED_PRECONDITION"), AuthenticationFailed, id="location"),
        pytest.param(400, an_error(_LONG), ContextWindowExceeded, id="too long"),
        pytest.param(400, [an_error(_LONG)], ContextWindowExceeded, id="in a list"),
        pytest.param(429, an_error(_CAP, "RESOURCE_EXHAUSTED"), SpendLimitReached, id="spending cap"),
        pytest.param(
            403, an_error("no", "PERMISSION_DENIED", {"reason": "BILLING_DISABLED"}), SpendLimitReached, id="no billing"
        ),
        pytest.param(429, an_error("quota", "RESOURCE_EXHAUSTED"), RateLimited, id="quota"),
        pytest.param(503, an_error("The model is overloaded.", "UNAVAILABLE"), RateLimited, id="overloaded"),
        pytest.param(400, an_error("too many states for serving"), RequestRejected, id="schema"),
    ],
)
def test_a_body_can_say_more_than_its_status(status: int, body: Any, ours: type[TokenOptError]) -> None:
    assert type(error_of(answering("google", status, body=body))) is ours


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        ({"code": 429, "message": "slow"}, RateLimited),
        ({"status": "UNAVAILABLE", "message": "busy"}, RateLimited),
        ({"status": "INVALID_ARGUMENT", "message": "no"}, RequestRejected),
        ({"message": "no"}, ProviderUnavailable),
        ({"code": 3, "message": "no"}, ProviderUnavailable),
    ],
)
def test_an_error_body_with_status_200_is_an_error(error: dict[str, Any], ours: type[TokenOptError]) -> None:
    assert type(error_of(answering("google", 200, body={"error": error}))) is ours


@pytest.mark.parametrize(
    ("delay", "headers", "wait_s"),
    [
        ("38s", {}, 38.0),
        ("21599.960323804s", {}, 21599.960323804),
        ("0.5s", {"retry-after": "3"}, 3.0),
        ("38s", {"retry-after": "3"}, 38.0),
        ("soon", {"retry-after": "3"}, 3.0),
        ("-1s", {}, None),
        (None, {}, None),
    ],
)
def test_the_wait_is_the_longer_of_what_the_body_and_the_header_say(
    delay: str | None, headers: dict[str, str], wait_s: float | None
) -> None:
    body = an_error("quota", "RESOURCE_EXHAUSTED", {"@type": _RETRY_INFO, "retryDelay": delay})
    problem = error_of(answering("google", 429, body=body, headers=headers))
    assert isinstance(problem, RateLimited)
    assert problem.retry_after_s == wait_s


def test_a_delay_that_is_no_retry_info_is_not_obeyed() -> None:
    problem = refusal(429, body=an_error("q", "RESOURCE_EXHAUSTED", {"@type": "other", "retryDelay": "9s"}), headers={})
    assert isinstance(problem, RateLimited)
    assert problem.retry_after_s is None


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("without_credentials")
def test_without_any_key_authentication_fails_before_anything_is_sent() -> None:
    exchange = Exchange("google", lambda _: httpx2.Response(200), api_key=None)
    problem = error_of(exchange)
    assert isinstance(problem, AuthenticationFailed)
    assert "No API key was provided" in str(problem)
    assert exchange.sent == []


def test_a_key_of_another_kind_is_trouble_with_authentication() -> None:
    exchange = Exchange("google", lambda _: httpx2.Response(200), api_key="auth_tokens/0123456789abcdef")
    assert isinstance(error_of(exchange), AuthenticationFailed)
    assert exchange.sent == []


@given(status=st.integers(300, 599), body=JSON_VALUES)
@examples(100)
def test_no_json_in_an_error_body_gets_past_the_mapping(status: int, body: object) -> None:
    assert_one_line(refusal(status, body=body, headers={}))


# --- what was recorded and quoted


def test_every_recorded_error_body_becomes_its_error() -> None:
    failed = [r for r in recordings("google") if r["status"] >= 400]
    assert [record["status"] for record in failed] == [404, 400, 400, 404]
    for record in failed:
        problem = error_of(answering("google", record["status"], body=record["response_body"]))
        assert type(problem) is STATUSES[record["status"]], record["id"]
        assert record["response_body"]["error"]["message"] in str(problem)


def test_every_quoted_error_body_becomes_its_error() -> None:
    lines = shared("data/wire/errors_quoted_in_issues.jsonl").read_text("utf-8").splitlines()
    quoted = [record for record in map(json.loads, lines) if record["provider"].startswith("google")]
    assert len(quoted) == 2
    for record in quoted:
        assert type(error_of(answering("google", 429, body=record["response_body"]))) is RateLimited
