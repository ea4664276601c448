"""Recorded answers of the real API, replayed through the SDK and our reading of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx2

from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline_tests.adapters.anthropic_exchange import Exchange, recordings
from tokenopt_pipeline_tests.conformance.behaviours import promised

_STOPS = {"end_turn": "complete", "tool_use": "complete", "stop_sequence": "complete", "max_tokens": "truncated"}


def recorded() -> list[dict[str, Any]]:
    """Whole answers, as JSON, not as a stream of events."""
    return [
        record
        for record in recordings()
        if (record["endpoint"], record["status"], record["response_kind"]) == ("POST /v1/messages", 200, "json")
    ]


@cache
def responses() -> dict[str, ModelResponse]:
    """Record id -> how it is read."""
    return {record["id"]: replayed(record) for record in recorded()}


def replayed(record: dict[str, Any]) -> ModelResponse:
    headers = {k: v for k, v in record["response_headers"].items() if k not in ("transfer-encoding", "content-type")}
    body = record["response_body"]
    return Exchange(lambda _: httpx2.Response(200, json=body, headers=headers)).complete()


@promised("recorded-answers", "anthropic")
def test_every_recorded_answer_is_read() -> None:
    unread: list[str] = []
    records = recorded()
    for record in records:
        try:
            response = replayed(record)
        except Exception as problem:  # noqa: BLE001 - each is named in the message below
            unread.append(f"{record['id']}: {type(problem).__name__}: {problem}")
            continue
        assert response.request_id == record["response_headers"].get("request-id"), record["id"]
        assert not response.simulated, record["id"]
    assert len(records) > 200
    assert not unread, f"{len(records) - len(unread)} of {len(records)} recorded answers were read; not: {unread}"


@promised("recorded-usage", "anthropic")
def test_the_usage_of_every_recorded_answer_is_the_recorded_one() -> None:
    for record in recorded():
        told, read = record["response_body"]["usage"], responses()[record["id"]].usage
        split = told.get("cache_creation") or {}
        assert read.input_uncached == told["input_tokens"], record["id"]
        assert read.cache_write == (told.get("cache_creation_input_tokens") or 0), record["id"]
        assert read.cache_write_1h == split.get("ephemeral_1h_input_tokens", 0), record["id"]
        assert read.cache_read == (told.get("cache_read_input_tokens") or 0), record["id"]
        assert read.output == told["output_tokens"], record["id"]


@promised("recorded-words", "anthropic")
def test_the_text_and_stop_of_every_recorded_answer_are_the_recorded_ones() -> None:
    for record in recorded():
        body, response = record["response_body"], responses()[record["id"]]
        assert response.stop is StopReason(_STOPS[body["stop_reason"]]), record["id"]
        text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
        if not text.lstrip().startswith("```"):
            assert response.text == text, record["id"]


def test_recorded_answers_include_cache_writes_cache_reads_thinking_and_cut_ones() -> None:
    """Otherwise the tests above prove less than they say."""
    read = responses().values()
    assert any(r.usage.cache_write_5m for r in read)
    assert any(r.usage.cache_read for r in read)
    assert any(r.stop is StopReason.TRUNCATED for r in read)
    assert any(block["type"] == "thinking" for r in recorded() for block in r["response_body"]["content"])
