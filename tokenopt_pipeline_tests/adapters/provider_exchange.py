"""Every provider on a scripted HTTP transport, and what is alike in trying them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.domain.errors import TokenOptError
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.ports import Provider
from tokenopt_pipeline_tests.adapters.anthropic_exchange import a_message, shared
from tokenopt_pipeline_tests.factories import a_model, a_request

#: Nobody's key, easy to find again wherever it may turn up.
KEY = "sk-recognisable-0123456789abcdef"

#: Vendor -> (provider, a model of it).
VENDORS: dict[str, tuple[Callable[..., Provider], str]] = {
    "anthropic": (AnthropicProvider, "claude-sonnet-5-5"),
    "openai": (OpenAIProvider, "gpt-6-luna"),
    "google": (GoogleProvider, "gemini-3.8-flash"),
    "custom": (CustomProvider, "llama"),
}

#: A schema with one optional field that may not be null.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"n": {"type": "integer"}, "a": {"type": "string"}},
                "required": ["n"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["results"],
    "additionalProperties": False,
}


def a_body(vendor: str, text: str = '{"results": []}') -> dict[str, Any]:
    """The body of a complete answer."""
    if vendor == "anthropic":
        return a_message(content=[{"type": "text", "text": text}])
    if vendor == "openai":
        message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        usage = {"input_tokens": 10, "output_tokens": 2}
        return {"id": "resp_1", "object": "response", "status": "completed", "output": [message], "usage": usage}
    if vendor == "google":
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
        return {"candidates": [candidate], "usageMetadata": usage, "responseId": "r_1"}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 2}}


def a_request_to(vendor: str, model: str | None = None, thinking: str | None = None, **changes: Any) -> ModelRequest:
    """A request to a model of the vendor, with `SCHEMA`."""
    ref = ModelRef(provider=vendor, model=model or VENDORS[vendor][1])
    return a_request(**{"model": a_model(ref=ref, thinking=thinking), "output_schema": SCHEMA, **changes})


class Exchange:
    """One provider and every request it sent."""

    def __init__(self, vendor: str, answer: Callable[[httpx2.Request], httpx2.Response], **provider: Any) -> None:
        self.vendor = vendor
        self.sent: list[httpx2.Request] = []

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.sent.append(request)
            return answer(request)

        options = {"api_key": KEY, "base_url": "http://provider.test", **provider}
        self.provider = VENDORS[vendor][0](**options, http_client=httpx2.Client(transport=httpx2.MockTransport(handle)))

    def complete(self, request: ModelRequest | None = None, timeout_s: float = 5) -> ModelResponse:
        """The provider's answer to the request."""
        return self.provider.complete(request or a_request_to(self.vendor), timeout_s=timeout_s)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The JSON of every request."""
        return [json.loads(request.content) for request in self.sent]

    @property
    def body(self) -> dict[str, Any]:
        """The last request's JSON."""
        return self.bodies[-1]


def answering(
    vendor: str, status: int = 200, *, body: Any = None, headers: dict[str, str] | None = None, **raw: Any
) -> Exchange:
    """A provider whose every request is answered alike: with JSON, or with `content`, `text` or `html`."""
    shown = raw or {"json": a_body(vendor) if body is None else body}
    return Exchange(vendor, lambda _request: httpx2.Response(status, headers=headers, **shown))


def failing(vendor: str, problem: Exception) -> Exchange:
    """A provider whose transport raises."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        raise problem

    return Exchange(vendor, answer)


def error_of(exchange: Exchange, request: ModelRequest | None = None) -> TokenOptError:
    """The error that the call ends with; whatever is not one of ours fails the test."""
    with pytest.raises(TokenOptError) as caught:
        exchange.complete(request)
    return caught.value


@cache
def recordings(vendor: str) -> tuple[dict[str, Any], ...]:
    """Every recorded exchange with a vendor."""
    with gzip.open(shared(f"data/wire/{vendor}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def recorded_answers(vendor: str, endpoint: str) -> list[dict[str, Any]]:
    """Whole answers of an endpoint, as JSON, not as a stream of events."""
    return [
        record
        for record in recordings(vendor)
        if record["endpoint"].endswith(endpoint) and (record["status"], record["response_kind"]) == (200, "json")
    ]


def replayed(vendor: str, record: dict[str, Any]) -> ModelResponse:
    """How the provider reads a recorded answer."""
    headers = {k: v for k, v in record["response_headers"].items() if k not in ("transfer-encoding", "content-type")}
    body = record["response_body"]
    return Exchange(vendor, lambda _: httpx2.Response(200, json=body, headers=headers)).complete()


def read_of(vendor: str, records: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], ModelResponse | Exception]]:
    """(record, how it is read, or the error that it ends with)."""
    for record in records:
        try:
            yield record, replayed(vendor, record)
        except Exception as problem:  # noqa: BLE001 - the test names each
            yield record, problem
