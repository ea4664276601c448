"""Recorded answers of OpenAI's APIs, replayed through the SDK and our reading of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline_tests.adapters.provider_exchange import read_of, recorded_answers
from tokenopt_pipeline_tests.conformance.behaviours import promised

# Vendor -> endpoint of the recordings.
_ENDPOINTS = {"openai": "POST /v1/responses", "custom": "POST /v1/chat/completions"}
#: (whole answers recorded, of which are not answers yet).
_COUNTS = {"openai": (275, 5), "custom": (590, 0)}


@cache
def read(vendor: str) -> list[tuple[dict[str, Any], ModelResponse | Exception]]:
    """Every recorded answer and how it is read."""
    return list(read_of(vendor, recorded_answers("openai", _ENDPOINTS[vendor])))


def responses(vendor: str) -> list[tuple[dict[str, Any], ModelResponse]]:
    """(recorded body, how it is read)."""
    return [(r["response_body"], answer) for r, answer in read(vendor) if isinstance(answer, ModelResponse)]


@promised("recorded-answers")
@pytest.mark.parametrize("vendor", _ENDPOINTS)
def test_every_recorded_answer_is_read(vendor: str) -> None:
    """But for the five that only say that a response is queued: `background` was asked for, which we never do."""
    unread = {r["id"]: answer for r, answer in read(vendor) if isinstance(answer, Exception)}
    queued = {r["id"] for r, _ in read(vendor) if r["response_body"].get("status") == "queued"}
    assert (len(read(vendor)), len(queued)) == _COUNTS[vendor]
    assert set(unread) == queued, f"{len(read(vendor)) - len(unread)} of {len(read(vendor))} were read; not: {unread}"
    assert all(isinstance(p, ProviderUnavailable) and "it is queued" in str(p) for p in unread.values())


@promised("recorded-usage", "openai")
def test_the_usage_of_every_recorded_response_is_the_recorded_one() -> None:
    for body, answer in responses("openai"):
        told, usage = body["usage"], answer.usage
        assert usage.input_total == told["input_tokens"], body["id"]
        assert usage.cache_read == told["input_tokens_details"]["cached_tokens"], body["id"]
        assert usage.cache_write == told["input_tokens_details"].get("cache_write_tokens", 0), body["id"]
        assert usage.output == told["output_tokens"], body["id"]


@promised("recorded-usage", "custom")
def test_the_usage_of_every_recorded_completion_is_the_recorded_one() -> None:
    for body, answer in responses("custom"):
        told, usage = body["usage"], answer.usage
        details = told.get("prompt_tokens_details") or {}
        assert usage.input_total == told["prompt_tokens"], body["id"]
        assert usage.cache_read == details.get("cached_tokens", 0), body["id"]
        assert usage.cache_write == details.get("cache_write_tokens", 0), body["id"]
        assert usage.output == told["completion_tokens"], body["id"]


@promised("recorded-words", "openai")
def test_the_text_and_stop_of_every_recorded_response_are_the_recorded_ones() -> None:
    for body, answer in responses("openai"):
        assert answer.stop is (StopReason.TRUNCATED if body["status"] == "incomplete" else StopReason.COMPLETE)
        messages = [each for each in body["output"] if each["type"] == "message" and each.get("phase") != "commentary"]
        text = "".join(part["text"] for message in messages for part in message["content"])
        if not text.lstrip().startswith("```"):
            assert answer.text == text, body["id"]


@promised("recorded-words", "custom")
def test_the_text_and_stop_of_every_recorded_completion_are_the_recorded_ones() -> None:
    for body, answer in responses("custom"):
        choice = body["choices"][0]
        text, refused = choice["message"]["content"] or "", choice["message"].get("refusal")
        cut = choice.get("finish_reason") == "length"
        expected = StopReason.REFUSED if refused else StopReason.TRUNCATED if cut else StopReason.COMPLETE
        assert (answer.stop, answer.refusal) == (expected, refused and " ".join(refused.split())), body["id"]
        if not text.lstrip().startswith("```"):
            assert answer.text == text, body["id"]


def test_recorded_answers_include_cache_use_reasoning_refusals_and_cut_ones() -> None:
    """Otherwise the tests above prove less than they say."""
    both = [*responses("openai"), *responses("custom")]
    assert any(answer.usage.cache_read for _, answer in both)
    assert any(answer.usage.cache_write for _, answer in both)
    assert {answer.stop for _, answer in both} == set(StopReason) - {StopReason.TOOLS}
    assert any(each["type"] == "reasoning" for body, _ in responses("openai") for each in body["output"])
