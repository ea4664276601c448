"""What went wrong at Anthropic, in our words: every error of the SDK, of the HTTP library below it, every error body."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

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

# Words of Anthropic's own 400 bodies; they carry no code that tells these cases apart.
_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_NO_MONEY = ("specified api usage limits", "credit balance is too low")
_NO_ACCOUNT = ("organization has been disabled",)
# error_code of 400 bodies that no other request with the same key will escape (SDK 2.12, types/shared).
_NO_ACCOUNT_CODES = frozenset(
    {
        "claude_code_key_creator_not_member",
        "cmek_key_disabled",
        "cmek_key_network_blocked",
        "key_profile_mismatch",
        "organization_not_enrolled_in_beta",
        "organization_on_hold",
        "organization_type_not_supported",
        "parent_organization_required",
        "workspace_policy_violation",
    }
)
#: Status behind the error types of the API, for gateways that answer 200 to everything.
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_MOST_CHARS = 300
# Shorter ones, such as the sandbox's, are words that messages use.
_SHORTEST_SECRET_CHARS = 12


@contextmanager
def mapped_errors(secrets: Callable[[], Iterable[str]]) -> Iterator[None]:
    """The one door for the SDK's errors and those of the HTTP library below it; no message repeats a secret."""
    import anthropic
    import httpx2

    try:
        yield
    except (
        TokenOptError,
        anthropic.AnthropicError,
        httpx2.HTTPError,
        httpx2.StreamError,
        httpx2.InvalidURL,
        httpx2.CookieConflict,
        TypeError,
        ValueError,
    ) as problem:
        # Without any credential the SDK raises TypeError when the request is built; any other one is our mistake.
        is_mistake = isinstance(problem, TypeError) and not isinstance(problem, anthropic.AnthropicError)
        if is_mistake and "authentication" not in str(problem):
            raise
        ours = problem if isinstance(problem, TokenOptError) else _mapped(problem)
        hidden = [secret for secret in secrets() if len(secret) >= _SHORTEST_SECRET_CHARS]
        # The HTTP library quotes the header it refuses, and a header may be a key that we do not know of.
        quotes_header = isinstance(problem.__cause__ or problem, httpx2.LocalProtocolError)
        if quotes_header or any(secret in told for secret in hidden for told in _told(problem)):
            # A gateway may quote the key it was sent: neither the message nor what is printed below it may repeat it.
            ours.args = tuple(_redacted(str(arg), hidden) for arg in ours.args)
            raise ours from None
        if ours is problem:
            raise
        raise ours from problem


def _mapped(problem: Exception) -> TokenOptError:
    import anthropic
    import httpx2

    if isinstance(problem, anthropic.APIStatusError):
        return refusal(problem.status_code, body=problem.body, headers=problem.response.headers)
    if isinstance(problem, anthropic.APIError | anthropic.RetryableError | httpx2.HTTPError | httpx2.StreamError):
        cause = problem.__cause__ or problem
        if isinstance(cause, httpx2.LocalProtocolError) and "header" in str(cause).lower():
            # Its message quotes the header, and headers carry keys.
            return AuthenticationFailed("anthropic: a header of the request holds a character that HTTP does not allow")
        # APIConnectionError says only "Connection error."; its cause says which.
        why = "" if cause is problem else f" ({one_line(cause)})"
        return ProviderUnavailable(f"anthropic: {one_line(problem)}{why}")
    if isinstance(problem, httpx2.InvalidURL):
        return ProviderUnavailable(f"anthropic: the base URL cannot be used: {one_line(problem)}")
    if isinstance(problem, httpx2.CookieConflict):
        return ProviderUnavailable(f"anthropic: {one_line(problem)}")
    if isinstance(problem, anthropic.AnthropicError | TypeError):
        # What is left is trouble with credentials; the exchange for a workload's token tells its HTTP status.
        status = getattr(problem, "status_code", None) or 0
        if status == 429 or status >= 500:
            return ProviderUnavailable(f"anthropic: {one_line(problem)}")
        return AuthenticationFailed(f"anthropic: {one_line(problem)}")
    return RequestRejected(f"anthropic: the request cannot be written: {one_line(problem)}")


def refusal(status: int, *, body: object, headers: Mapping[str, str]) -> TokenOptError:
    """The error behind an HTTP status and the body that came with it, whoever wrote it."""
    error = error_in(body) or {}
    details = error.get("details")
    code = str(details.get("error_code") or "") if isinstance(details, dict) else ""
    said = _words(body)
    request_id = headers.get("request-id") or (body.get("request_id") if isinstance(body, dict) else None)
    at = f", request {request_id}" if request_id else ""
    message = f"anthropic answered {status}: {said[:_MOST_CHARS]}{at}"
    lowered = said.lower()
    if status == 402 or error.get("type") == "billing_error":
        return SpendLimitReached(message)
    if status in (401, 403):
        return AuthenticationFailed(message)
    if "spend_limit" in code or "usage_limit" in code or any(words in lowered for words in _NO_MONEY):
        return SpendLimitReached(message)
    if status == 400 and (code in _NO_ACCOUNT_CODES or any(words in lowered for words in _NO_ACCOUNT)):
        return AuthenticationFailed(message)
    if status == 404:
        return ModelUnknown(message if error else f"{message}; does the base URL lead to a Messages API?")
    if status == 413 or (status == 400 and any(words in lowered for words in _TOO_LONG)):
        return ContextWindowExceeded(message)
    wait = _retry_after_s(headers)
    if status in (429, 503, 529):
        return RateLimited(message, retry_after_s=wait)
    if status in (408, 409, 499) or status >= 500 or code == "request_body_timeout":
        return ProviderUnavailable(message, retry_after_s=wait)
    return RequestRejected(message, status=status)


def error_in(body: object) -> dict[str, Any] | None:
    """The error object of an error body; None when the body is none."""
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _words(body: object) -> str:
    """What an error body says, in one line, whoever wrote it: the API, a gateway or a web server."""
    error = error_in(body) or {}
    outer = body if isinstance(body, dict) else {}
    candidates = (
        error.get("message"),
        outer.get("error"),
        outer.get("message"),
        outer.get("detail"),
        error.get("type"),
    )
    # The markup of an error page says nothing.
    page = body if isinstance(body, str) and not body.lstrip().startswith("<") else None
    found = (" ".join(said.split()) for said in (*candidates, page) if isinstance(said, str))
    return next(filter(None, found), "no message")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * unit
        except ValueError:
            wait = _until_s(value)
        if math.isfinite(wait):
            return max(wait, 0.0)
    return None


def _until_s(date: str) -> float:
    """Seconds until an HTTP date; NaN for what is none."""
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return math.nan
    # An HTTP date without a zone, or with -0000, means UTC.
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return (then - datetime.now(UTC)).total_seconds()  # noqa: TID251 - a date means nothing without now


def _told(problem: BaseException | None) -> Iterator[str]:
    """What a traceback would print of the error and those behind it."""
    while problem is not None:
        yield f"{problem!r} {problem}"
        problem = problem.__cause__ or problem.__context__


def _redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return text


def one_line(problem: BaseException) -> str:
    """What the error says, on one line of bounded length; its name when it says nothing."""
    return (" ".join(str(problem).split()) or type(problem).__name__)[:_MOST_CHARS]
