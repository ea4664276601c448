"""Recorded answers that call tools, replayed: every call is read, and every answer goes back exactly as it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.domain.requests import ModelResponse, StopReason, Turn
from tokenopt_pipeline.domain.tools import ToolResult
from tokenopt_pipeline_tests.adapters import anthropic_exchange
from tokenopt_pipeline_tests.adapters.provider_exchange import VENDORS, Exchange, a_body, a_request_to, recordings
from tokenopt_pipeline_tests.factories import a_request, a_tool

Members = dict[str, Any]


@cache
def _exchange(vendor: str) -> tuple[Any, list[httpx2.Response]]:
    """(one provider for all answers, what it is answered next): making one takes longer than an answer."""
    answers: list[httpx2.Response] = []
    make: Any = anthropic_exchange.Exchange if vendor == "anthropic" else partial(Exchange, vendor)
    return make(lambda _: answers.pop()), answers


def _sent_by(vendor: str, answer: httpx2.Response, **request: Any) -> tuple[ModelResponse, Members]:
    """(how the provider reads the answer, the JSON it had sent)."""
    exchange, answers = _exchange(vendor)
    changes = {"tools": (a_tool(),), **request}
    answers.append(answer)
    asked = a_request(**changes) if vendor == "anthropic" else a_request_to(vendor, VENDORS[vendor][1], **changes)
    return exchange.complete(asked), exchange.body


def _plain(vendor: str) -> httpx2.Response:
    return httpx2.Response(200, json=anthropic_exchange.a_message() if vendor == "anthropic" else a_body(vendor))


def _anthropic_calls(body: Members) -> Iterator[tuple[str, Any]]:
    yield from ((b["name"], b["input"]) for b in body["content"] if b["type"] == "tool_use")


def _openai_calls(body: Members) -> Iterator[tuple[str, Any]]:
    yield from ((i["name"], i["arguments"]) for i in body["output"] if i["type"] == "function_call")


def _chat_calls(body: Members) -> Iterator[tuple[str, Any]]:
    calls = body["choices"][0]["message"].get("tool_calls") or []
    yield from ((c["function"]["name"], c["function"]["arguments"]) for c in calls if "function" in c)


def _google_calls(body: Members) -> Iterator[tuple[str, Any]]:
    parts = (body.get("candidates") or [{}])[0].get("content", {}).get("parts", [])
    yield from ((p["functionCall"]["name"], p["functionCall"].get("args", {})) for p in parts if "functionCall" in p)


#: Vendor -> (recordings of, end of the endpoint, calls of a body, answers with calls that were recorded).
_RECORDED: dict[str, tuple[str, str, Callable[[Members], Iterator[tuple[str, Any]]], int]] = {
    "anthropic": ("anthropic", "POST /v1/messages", _anthropic_calls, 89),
    "openai": ("openai", "POST /v1/responses", _openai_calls, 75),
    "custom": ("openai", "POST /v1/chat/completions", _chat_calls, 77),
    "google": ("google", ":generateContent", _google_calls, 58),
}
each_vendor = pytest.mark.parametrize("vendor", _RECORDED)


@cache
def with_calls(vendor: str) -> list[tuple[Members, list[tuple[str, Any]], ModelResponse]]:
    """(body, its calls, how it is read) of every recorded whole answer that calls a tool."""
    source, endpoint, calls, _ = _RECORDED[vendor]
    answers = [
        r["response_body"]
        for r in recordings_of(source)
        if r["endpoint"].endswith(endpoint) and (r["status"], r["response_kind"]) == (200, "json")
    ]
    found = [(body, list(calls(body))) for body in answers if body.get("status") != "queued"]
    return [(body, called, _sent_by(vendor, httpx2.Response(200, json=body))[0]) for body, called in found if called]


def recordings_of(source: str) -> tuple[Members, ...]:
    return anthropic_exchange.recordings() if source == "anthropic" else recordings(source)


@each_vendor
def test_every_recorded_call_is_read(vendor: str) -> None:
    assert len(with_calls(vendor)) == _RECORDED[vendor][3]
    for body, called, response in with_calls(vendor):
        if response.stop is not StopReason.TOOLS:
            # Only an answer that was cut calls nothing.
            assert (response.stop, response.tool_calls) == (StopReason.TRUNCATED, ()), body
            continue
        assert [call.name for call in response.tool_calls] == [name for name, _ in called]
        assert all(call.arguments is not None for call in response.tool_calls), response.tool_calls


@each_vendor
def test_every_recorded_answer_goes_back_exactly_as_it_came(vendor: str) -> None:
    for body, _, response in with_calls(vendor):
        results = tuple(ToolResult(call_id=call.call_id, text="{}") for call in response.tool_calls)
        if not results:
            continue
        turn = Turn(carry=response.carry or "", results=results)
        _, sent = _sent_by(vendor, _plain(vendor), turns=(turn,))
        if vendor == "anthropic":
            assert sent["messages"][1] == {"role": "assistant", "content": body["content"]}
        elif vendor == "openai":
            assert sent["input"][2 : 2 + len(body["output"])] == body["output"]
        elif vendor == "google":
            assert sent["contents"][1] == {"role": "model", **body["candidates"][0]["content"]}
        else:
            said = body["choices"][0]["message"]
            passed = sent["messages"][2]
            assert passed["tool_calls"] == said["tool_calls"]
            assert passed["content"] == said["content"]
