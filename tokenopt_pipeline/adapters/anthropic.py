"""Anthropic's Messages API through its own SDK: one call, no retries, every error mapped to ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.anthropic_dialect import NotExpressible, to_dialect
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
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.usage import TokenUsage

if TYPE_CHECKING:
    import anthropic

TOOL = "record_results"
#: A stand-in says so in every response.
SANDBOX_HEADER = "x-tokenopt-sandbox"

_STOPS = {
    "max_tokens": StopReason.TRUNCATED,
    "model_context_window_exceeded": StopReason.TRUNCATED,
    "pause_turn": StopReason.TRUNCATED,
    "refusal": StopReason.REFUSED,
}
# Words of Anthropic's own 400 bodies; they carry no code that tells these cases apart.
_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_NO_MONEY = ("specified api usage limits", "credit balance is too low")
_MOST_CHARS = 300


class AnthropicProvider:
    """`ports.Provider` for models of Anthropic and for whatever speaks the Messages API at `base_url`."""

    def __init__(self, *, api_key: str | None = None, base_url: str | None = None) -> None:
        """None: the SDK looks into the environment itself (ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, …)."""
        self._api_key = api_key
        self._base_url = base_url
        self._client: anthropic.Anthropic | None = None
        self._lock = Lock()

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads."""
        with _mapped_errors():
            raw = self._connected().messages.with_raw_response.create(**_body(request), timeout=timeout_s)
            message = raw.parse()
            return _response(message, simulated=SANDBOX_HEADER in raw.headers, request_id=raw.headers.get("request-id"))

    def _connected(self) -> anthropic.Anthropic:
        with self._lock:
            if self._client is None:
                import anthropic

                # No retries: the pipeline has its own, which count, wait and tell.
                self._client = anthropic.Anthropic(api_key=self._api_key, base_url=self._base_url, max_retries=0)
            return self._client


def _body(request: ModelRequest) -> dict[str, Any]:
    system: dict[str, Any] = {"type": "text", "text": request.system}
    if request.cache_ttl is not None:
        system["cache_control"] = {"type": "ephemeral", "ttl": request.cache_ttl}
    body: dict[str, Any] = {
        "model": request.model.ref.model,
        "max_tokens": request.max_tokens,
        "system": [system],
        "messages": [{"role": "user", "content": [{"type": "text", "text": request.user}]}],
    }
    if request.model.thinking is not None:
        body["thinking"] = json.loads(request.model.thinking)
    if request.model.output_method == "tool":
        body["tools"] = [{"name": TOOL, "description": "Record the results.", "input_schema": request.output_schema}]
        body["tool_choice"] = {"type": "tool", "name": TOOL}
        return body
    schema = _dialect(canonical_json(request.output_schema))
    # A schema that structured outputs cannot express is asked for in words; the answer is validated all the same.
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return body


@lru_cache(maxsize=16)
def _dialect(schema: str) -> dict[str, Any] | None:
    try:
        return to_dialect(json.loads(schema))
    except NotExpressible:
        return None


def _response(message: anthropic.types.Message, *, simulated: bool, request_id: str | None) -> ModelResponse:
    text = "".join(block.text for block in message.content if block.type == "text")
    for block in message.content:
        if block.type == "tool_use" and block.name == TOOL:
            text = json.dumps(block.input, ensure_ascii=False)
    stop = _STOPS.get(message.stop_reason or "", StopReason.COMPLETE)
    details = getattr(message, "stop_details", None)
    usage = message.usage
    written = usage.cache_creation_input_tokens or 0
    written_1h = usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation else 0
    return ModelResponse(
        text="" if stop is StopReason.REFUSED else _without_fence(text),
        stop=stop,
        usage=TokenUsage(
            input_uncached=usage.input_tokens,
            cache_write_5m=written - written_1h,
            cache_write_1h=written_1h,
            cache_read=usage.cache_read_input_tokens or 0,
            output=usage.output_tokens,
        ),
        request_id=request_id,
        simulated=simulated,
        refusal=(getattr(details, "explanation", None) or "refused") if stop is StopReason.REFUSED else None,
    )


def _without_fence(text: str) -> str:
    """The answer without the Markdown fence that models put around JSON when nothing binds them."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped[stripped.index("\n") + 1 : -3].strip()
    return text


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """The one door for the SDK's errors and those of the HTTP library below it."""
    import anthropic
    import httpx2

    try:
        yield
    except TokenOptError:
        raise
    except anthropic.APIStatusError as problem:
        raise _of_status(problem) from problem
    except anthropic.CredentialsError as problem:
        raise AuthenticationFailed(f"anthropic: {_one_line(problem)}") from problem
    except (anthropic.APIError, anthropic.RetryableError, httpx2.HTTPError, httpx2.StreamError) as problem:
        # APIConnectionError says only "Connection error."; its cause says which.
        cause = f" ({_one_line(problem.__cause__)})" if problem.__cause__ else ""
        raise ProviderUnavailable(f"anthropic: {_one_line(problem)}{cause}") from problem
    except (anthropic.AnthropicError, TypeError) as problem:
        # Without any credential the SDK raises TypeError when the request is built.
        if isinstance(problem, TypeError) and "authentication" not in str(problem):
            raise
        raise AuthenticationFailed(f"anthropic: {_one_line(problem)}") from problem
    except ValueError as problem:
        # A 200 whose body is not JSON comes from something between us and the provider.
        raise ProviderUnavailable(f"anthropic: the response cannot be read: {_one_line(problem)}") from problem


def _of_status(problem: anthropic.APIStatusError) -> TokenOptError:
    status = problem.status_code
    said = problem.api_message or problem.type or "no message"
    code = problem.error_code or ""
    at = f", request {problem.request_id}" if problem.request_id else ""
    message = f"anthropic answered {status}: {' '.join(said.split())[:_MOST_CHARS]}{at}"
    lowered = said.lower()
    if status in (401, 403):
        return AuthenticationFailed(message)
    if status == 402 or "spend_limit" in code or "usage_limit" in code or any(w in lowered for w in _NO_MONEY):
        return SpendLimitReached(message)
    if status == 404:
        return ModelUnknown(message)
    if status == 413 or any(words in lowered for words in _TOO_LONG):
        return ContextWindowExceeded(message)
    wait = _retry_after_s(problem.response.headers)
    if status in (429, 503, 529):
        return RateLimited(message, retry_after_s=wait)
    if status in (408, 409, 499) or status >= 500:
        return ProviderUnavailable(message, retry_after_s=wait)
    return RequestRejected(message, status=status)


def _retry_after_s(headers: Any) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(float(value) * unit, 0.0)
        except ValueError:
            try:
                wait = parsedate_to_datetime(value) - datetime.now(UTC)  # noqa: TID251 - a date means nothing without now
            except ValueError:
                continue
            return max(wait.total_seconds(), 0.0)
    return None


def _one_line(problem: BaseException) -> str:
    return (" ".join(str(problem).split()) or type(problem).__name__)[:_MOST_CHARS]
