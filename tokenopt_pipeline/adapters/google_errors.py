"""What went wrong at Google's Gemini API, in our words: every error of the SDK, of the HTTP library, every error body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from tokenopt_pipeline.adapters.http_refusals import (
    MOST_CHARS,
    body_of,
    door,
    error_in,
    one_line,
    retry_after_s,
    transport_error,
    words_in,
)
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    ContextWindowExceeded,
    ModelUnknown,
    PrefixGone,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SpendLimitReached,
    TokenOptError,
)

# A bad key is a 400 like any other bad argument; these words and reasons tell it apart.
_NO_KEY = ("api key not valid", "api key expired", "api key not found", "please pass a valid api key")
_NO_KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "CONSUMER_SUSPENDED"})
# "User location is not supported", "enable billing": no other request of this account fares better.
_NO_ACCOUNT_STATUS = "FAILED_PRECONDITION"
_NO_MONEY = ("spending cap", "spend cap", "credits are depleted", "credit balance")
_NO_MONEY_REASONS = frozenset({"BILLING_DISABLED"})
# The whole sentence: The input token count (n) exceeds the maximum number of tokens allowed (m).
_TOO_LONG = ("exceeds the maximum number of tokens", "input token count")
_GONE = "cachedcontent not found"
_RETRY_INFO = "google.rpc.RetryInfo"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")

#: HTTP status behind the statuses of the API, for error bodies that come with 200.
_STATUS_OF = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def mapped_errors(secrets: Callable[[], Iterable[str]]) -> AbstractContextManager[None]:
    """The one door for the SDK's errors and those of the HTTP library below it; no message repeats a secret."""
    from google.genai import errors

    return door(errors.APIError, errors.ContinuationInterruptedError, mapped=_mapped, secrets=secrets)


def _mapped(problem: Exception) -> TokenOptError | None:
    from google.genai import errors

    if isinstance(problem, errors.APIError):
        response: Any = problem.response
        body = problem.details if response is None else body_of(response)
        return refusal(problem.code, body=body, headers={} if response is None else response.headers)
    below = transport_error("google", problem)
    if below is not None:
        return below
    if isinstance(problem, errors.UnknownApiResponseError | errors.ContinuationInterruptedError | UnicodeDecodeError):
        # The SDK reads error bodies as JSON; bytes that are no text get past its own mapping.
        return ProviderUnavailable(f"google: the response cannot be read: {one_line(problem)}")
    if isinstance(problem, TypeError):
        return None
    said = one_line(problem)
    # The SDK raises a bare ValueError without a key, and one of its own for a key of another kind.
    if "api key" in said.lower() or "ephemeral token" in said.lower():
        return AuthenticationFailed(f"google: {said}")
    return RequestRejected(f"google: the request cannot be written: {said}")


def refusal(status: int, *, body: object, headers: Mapping[str, str]) -> TokenOptError:
    """The error behind an HTTP status and the body that came with it, whoever wrote it."""
    if isinstance(body, list) and body:
        body = body[0]
    error = error_in(body) or {}
    details = error.get("details")
    found = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    reasons = {str(detail.get("reason")) for detail in found}
    said = words_in(body)
    message = f"google answered {status}: {said[:MOST_CHARS]}"
    lowered = said.lower()
    if status == 402 or reasons & _NO_MONEY_REASONS or (status in (400, 403, 429) and _says(_NO_MONEY, lowered)):
        return SpendLimitReached(message)
    # "CachedContent not found (or permission denied)": the API does not tell an expired name from somebody else's.
    if status in (403, 404) and _GONE in lowered:
        return PrefixGone(message)
    if status in (401, 403) or reasons & _NO_KEY_REASONS or (status == 400 and _says(_NO_KEY, lowered)):
        return AuthenticationFailed(message)
    if status == 400 and error.get("status") == _NO_ACCOUNT_STATUS:
        return AuthenticationFailed(message)
    if status == 404:
        return ModelUnknown(message if error else f"{message}; does the base URL lead to the Gemini API?")
    if status == 413 or (status == 400 and _says(_TOO_LONG, lowered)):
        return ContextWindowExceeded(message)
    wait = _wait_s(found, headers)
    if status in (429, 503, 529):
        return RateLimited(message, retry_after_s=wait)
    if status in (408, 409, 499) or not 400 <= status < 500:
        return ProviderUnavailable(message, retry_after_s=wait)
    return RequestRejected(message, status=status)


def status_behind(error: Mapping[str, object]) -> int:
    """The HTTP status that an error object would have come with."""
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return _STATUS_OF.get(str(error.get("status")), 500)


def _says(phrases: Iterable[str], lowered: str) -> bool:
    return any(phrase in lowered for phrase in phrases)


def _wait_s(details: Iterable[Mapping[str, object]], headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: the longer of what the body's RetryInfo and the headers say."""
    waits = [retry_after_s(headers)]
    for detail in details:
        delay = _SECONDS.fullmatch(str(detail.get("retryDelay")))
        if str(detail.get("@type", "")).endswith(_RETRY_INFO) and delay is not None:
            waits.append(float(delay[1]))
    return max((wait for wait in waits if wait is not None), default=None)
