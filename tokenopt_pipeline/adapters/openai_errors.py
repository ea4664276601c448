"""What went wrong at OpenAI, or at a server that speaks its protocol, in our words: every error, every error body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

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

# All billing trouble has one type; its codes (error guide, as read in 2026-11) are listed for gateways that drop the type.
_NO_MONEY_TYPES = frozenset({"insufficient_quota", "billing_error"})
_NO_MONEY_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
    }
)
_NO_ACCOUNT_CODES = frozenset({"invalid_api_key", "account_deactivated", "invalid_organization"})
_NO_MODEL_CODES = frozenset({"model_not_found", "model_not_available"})
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
# Words of the API itself, of vLLM, llama.cpp and other servers that have no code for it.
_TOO_LONG = (
    "maximum context length",
    "exceeds the context window",
    "exceeds the available context size",
    "exceeds the model's context",
    "prompt is too long",
)
# One request that is larger than a whole minute's tokens: it will never pass, a smaller one may.
_LARGER_THAN_LIMIT = "request too large for"
_TRY_AGAIN_IN = re.compile(r"try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s|([\d.]+)ms)?")

#: Status behind the codes and types of errors that come with status 200: failed responses, and gateways.
_STATUS_OF = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "vector_store_timeout": 504,
    "server_error": 500,
}


def mapped_errors(vendor: str, secrets: Callable[[], Iterable[str]]) -> AbstractContextManager[None]:
    """The one door for the SDK's errors and those of the HTTP library below it; no message repeats a secret."""
    import openai

    return door(openai.OpenAIError, mapped=lambda problem: _mapped(vendor, problem), secrets=secrets)


def _mapped(vendor: str, problem: Exception) -> TokenOptError | None:
    import openai

    if isinstance(problem, openai.APIStatusError):
        return refusal(vendor, problem.status_code, body=body_of(problem.response), headers=problem.response.headers)
    below = transport_error(vendor, problem)
    if below is not None:
        return below
    if isinstance(problem, openai.APIError | openai.WebSocketConnectionClosedError | openai.WebSocketQueueFullError):
        # APIConnectionError says only "Connection error."; its cause says which.
        why = "" if problem.__cause__ is None else f" ({one_line(problem.__cause__)})"
        return ProviderUnavailable(f"{vendor}: {one_line(problem)}{why}")
    if isinstance(problem, openai.LengthFinishReasonError | openai.ContentFilterFinishReasonError):
        # Only the SDK's own parsing raises these; a server that makes it happen answers nonsense.
        return ProviderUnavailable(f"{vendor}: {one_line(problem)}")
    if isinstance(problem, openai.OpenAIError):
        # What is left is trouble with credentials; the exchange for a workload's token tells its HTTP status.
        status = getattr(getattr(problem, "response", None), "status_code", None) or 0
        if status == 429 or status >= 500:
            return ProviderUnavailable(f"{vendor}: {one_line(problem)}")
        return AuthenticationFailed(f"{vendor}: {one_line(problem)}")
    if isinstance(problem, TypeError):
        # Without any credential the SDK raises TypeError when the request is built; any other one is our mistake.
        is_ours = "authentication" not in str(problem)
        return None if is_ours else AuthenticationFailed(f"{vendor}: {one_line(problem)}")
    return RequestRejected(f"{vendor}: the request cannot be written: {one_line(problem)}")


def refusal(vendor: str, status: int, *, body: object, headers: Mapping[str, str]) -> TokenOptError:
    """The error behind an HTTP status and the body that came with it, whoever wrote it."""
    error = error_in(body) or _bare_error(body)
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    said = words_in(body)
    lowered = said.lower()
    request_id = headers.get("x-request-id")
    at = f", request {request_id}" if request_id else ""
    message = f"{vendor} answered {status}: {said[:MOST_CHARS]}{at}"
    if status == 402 or kind in _NO_MONEY_TYPES or code in _NO_MONEY_CODES:
        return SpendLimitReached(message)
    if status in (401, 403) or code in _NO_ACCOUNT_CODES:
        return AuthenticationFailed(message)
    if status == 404 or code in _NO_MODEL_CODES:
        is_api = bool(error) and "invalid url" not in lowered
        return ModelUnknown(message if is_api else f"{message}; does the base URL lead to this API?")
    says_too_long = {code, kind} & _TOO_LONG_CODES or any(words in lowered for words in _TOO_LONG)
    if status == 413 or (status in (400, 422, 500) and says_too_long):
        return ContextWindowExceeded(message)
    if status == 429 and lowered.startswith(_LARGER_THAN_LIMIT):
        return ContextWindowExceeded(message)
    wait = retry_after_s(headers)
    if status in (429, 503, 529):
        wait = _told_wait_s(lowered) if wait is None else wait
        return RateLimited(message, retry_after_s=wait, headroom=headroom(headers))
    if status in (408, 409, 499) or status >= 500:
        return ProviderUnavailable(message, retry_after_s=wait)
    return RequestRejected(message, status=status)


def status_behind(error: Mapping[str, object]) -> int:
    """The HTTP status that an error object would have come with."""
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    if code.startswith("invalid_") and code not in _STATUS_OF:
        return 400
    return _STATUS_OF.get(code) or _STATUS_OF.get(kind) or 500


def headroom(headers: Mapping[str, str], usage: TokenUsage | None = None) -> Headroom | None:
    """What the headers say is left of the limits; `usage` is what this very request used, cached tokens included."""
    used = None if usage is None else usage.input_total + usage.output
    return headroom_in(
        headers,
        requests=Limit(left="x-ratelimit-remaining-requests", reset="x-ratelimit-reset-requests"),
        tokens=[Limit(left="x-ratelimit-remaining-tokens", reset="x-ratelimit-reset-tokens", used=used)],
    )


def _bare_error(body: object) -> Mapping[str, object]:
    """The error that vLLM writes without a wrapper."""
    return body if isinstance(body, dict) and body.get("object") == "error" else {}


def _told_wait_s(lowered: str) -> float | None:
    """Seconds that the message itself says, as in "try again in 1m3.5s" or "174ms"; None when it does not."""
    found = _TRY_AGAIN_IN.search(lowered)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = found.groups()
    try:
        whole = int(hours or 0) * 3600 + int(minutes or 0) * 60
        return whole + float((seconds or "0").rstrip(".")) + float((milliseconds or "0").rstrip(".")) / 1000
    except ValueError:
        return None
