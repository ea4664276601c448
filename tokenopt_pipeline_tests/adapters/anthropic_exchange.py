"""A provider on a scripted HTTP transport: what it sends is kept, what it gets is chosen by the test."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
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
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline_tests.factories import a_model, a_request

#: Nobody's key, easy to find again wherever it may turn up.
KEY = "sk-ant-recognisable-0123456789abcdef"


#: HTTP status -> ours, for an error body without a code. A status that only the SDK knows fails a test.
STATUSES: dict[int, type[TokenOptError]] = {
    400: RequestRejected,
    401: AuthenticationFailed,
    402: SpendLimitReached,
    403: AuthenticationFailed,
    404: ModelUnknown,
    408: ProviderUnavailable,
    409: ProviderUnavailable,
    412: RequestRejected,
    413: ContextWindowExceeded,
    422: RequestRejected,
    429: RateLimited,
    431: RequestRejected,
    499: ProviderUnavailable,
    500: ProviderUnavailable,
    501: ProviderUnavailable,
    502: ProviderUnavailable,
    503: RateLimited,
    504: ProviderUnavailable,
    529: RateLimited,
}


def a_message(**members: Any) -> dict[str, Any]:
    """The body of a complete answer; a member that is None is left out."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [{"type": "text", "text": '{"results": []}'}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 2},
        **members,
    }
    return {key: value for key, value in message.items() if value is not None}


def an_error(kind: str = "invalid_request_error", message: str = "no", code: str | None = None) -> dict[str, Any]:
    """An error body as the API writes it."""
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_body"}


class Exchange:
    """One provider and every request it sent."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response], **provider: Any) -> None:
        self.sent: list[httpx2.Request] = []

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.sent.append(request)
            return answer(request)

        self.http_client = httpx2.Client(transport=httpx2.MockTransport(handle))
        self.provider = AnthropicProvider(
            **{"api_key": KEY, "base_url": "http://provider.test", **provider}, http_client=self.http_client
        )

    def complete(self, request: ModelRequest | None = None) -> ModelResponse:
        """The provider's answer to the request."""
        return self.provider.complete(request or a_request(), timeout_s=5)

    @property
    def body(self) -> dict[str, Any]:
        """The last request's JSON."""
        body: dict[str, Any] = json.loads(self.sent[-1].content)
        return body


def answering(status: int = 200, *, body: Any = None, headers: dict[str, str] | None = None, **raw: Any) -> Exchange:
    """A provider whose every request is answered alike: with JSON, or with `content`, `text` or `html`."""
    shown = raw or {"json": a_message() if body is None else body}
    return Exchange(lambda _request: httpx2.Response(status, headers=headers, **shown))


def failing(problem: Exception) -> Exchange:
    """A provider whose transport raises."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise problem

    return Exchange(answer)


def error_of(exchange: Exchange, request: ModelRequest | None = None) -> TokenOptError:
    """The error that the call ends with; whatever is not one of ours fails the test."""
    with pytest.raises(TokenOptError) as caught:
        exchange.complete(request)
    return caught.value


def assert_one_line(problem: TokenOptError) -> None:
    """Short enough to be shown and stored, long enough to say something."""
    assert "\n" not in str(problem)
    assert 0 < len(str(problem)) < 700


def a_tool_request(**changes: Any) -> ModelRequest:
    """A request to a model without structured outputs."""
    return a_request(model=a_model(output_method="tool"), **changes)


def shared(path: str) -> Path:
    """A file of the shared data; skips the test without it."""
    root = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).parents[3] / "shared")
    if not (root / path).exists():
        pytest.skip(f"recorded exchanges are not at hand ({path} under TOKENOPT_SHARED)")
    return root / path


@cache
def recordings() -> tuple[dict[str, Any], ...]:
    """Every recorded exchange with the API."""
    with gzip.open(shared("data/wire/anthropic.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)
