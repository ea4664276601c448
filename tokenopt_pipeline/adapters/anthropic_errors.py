"""What went wrong at Anthropic, in our words: every error of the SDK, of the HTTP library below it, every error body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from tokenopt_pipeline.adapters.http_refusals import (
    MOST_CHARS,
    door,
    error_in,
    one_line,
    retry_after_s,
    transport_error,
    words_in,
)
from tokenopt_pipeline.adapters.rate_limits import Limit, headroom_in
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
from tokenopt_pipeline.domain.flow import Headroom
from tokenopt_pipeline.domain.usage import TokenUsage

__all__ = ["STATUS_OF_TYPE", "error_in", "headroom", "mapped_errors", "one_line", "refusal"]

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


def mapped_errors(secrets: Callable[[], Iterable[str]]) -> AbstractContextManager[None]:
    """The one door for the SDK's errors and those of the HTTP library below it; no message repeats a secret."""
    import anthropic

    return door(anthropic.AnthropicError, mapped=_mapped, secrets=secrets)


def _mapped(problem: Exception) -> TokenOptError | None:
    import anthropic

    # Without any credential the SDK raises TypeError when the request is built; any other one is our mistake.
    is_mistake = isinstance(problem, TypeError) and not isinstance(problem, anthropic.AnthropicError)
    if is_mistake and "authentication" not in str(problem):
        return None
    if isinstance(problem, anthropic.APIStatusError):
        return refusal(problem.status_code, body=problem.body, headers=problem.response.headers)
    below = transport_error("anthropic", problem)
    if below is not None:
        return below
    if isinstance(problem, anthropic.APIError | anthropic.RetryableError):
        # APIConnectionError says only "Connection error."; its cause says which.
        why = "" if problem.__cause__ is None else f" ({one_line(problem.__cause__)})"
        return ProviderUnavailable(f"anthropic: {one_line(problem)}{why}")
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
    said = words_in(body)
    request_id = headers.get("request-id") or (body.get("request_id") if isinstance(body, dict) else None)
    at = f", request {request_id}" if request_id else ""
    message = f"anthropic answered {status}: {said[:MOST_CHARS]}{at}"
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
    wait = retry_after_s(headers)
    if status in (429, 503, 529):
        return RateLimited(message, retry_after_s=wait, headroom=headroom(headers))
    if status in (408, 409, 499) or status >= 500 or code == "request_body_timeout":
        return ProviderUnavailable(message, retry_after_s=wait)
    return RequestRejected(message, status=status)


def headroom(headers: Mapping[str, str], usage: TokenUsage | None = None) -> Headroom | None:
    """What the headers say is left of the limits; `usage` is what this very request used.

    Tokens read from a cache count towards no limit (rate limit guide, as read in 2026-11).
    """
    taken = None if usage is None else usage.input_uncached + usage.cache_write
    given = None if usage is None else usage.output
    return headroom_in(
        headers,
        requests=_limit("requests"),
        tokens=[
            _limit("input-tokens", taken),
            _limit("output-tokens", given),
            _limit("tokens", None if usage is None else usage.input_uncached + usage.cache_write + usage.output),
        ],
    )


def _limit(kind: str, used: int | None = None) -> Limit:
    return Limit(left=f"anthropic-ratelimit-{kind}-remaining", reset=f"anthropic-ratelimit-{kind}-reset", used=used)
