"""Recorded answers of Gemini models, replayed through the SDK and our reading of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenopt_pipeline.domain.requests import ModelResponse, StopReason
from tokenopt_pipeline_tests.adapters.provider_exchange import read_of, recorded_answers
from tokenopt_pipeline_tests.conformance.behaviours import promised

_REFUSED = ("SAFETY", "MODEL_ARMOR")
_CUT = ("MAX_TOKENS", 2)


@cache
def read() -> list[tuple[dict[str, Any], ModelResponse | Exception]]:
    """Every recorded answer of a `generateContent` endpoint and how it is read."""
    return list(read_of("google", recorded_answers("google", ":generateContent")))


def responses() -> list[tuple[dict[str, Any], ModelResponse]]:
    """(record, how it is read)."""
    return [(record, answer) for record, answer in read() if isinstance(answer, ModelResponse)]


@promised("recorded-answers", "google")
def test_every_recorded_answer_is_read() -> None:
    """155 of the Gemini API, 42 of its enterprise twin, which writes the same body."""
    unread = {record["id"]: answer for record, answer in read() if isinstance(answer, Exception)}
    assert len(read()) == 197
    assert not unread, f"{len(read()) - len(unread)} of {len(read())} recorded answers were read; not: {unread}"


@promised("recorded-usage", "google")
def test_the_usage_of_every_recorded_answer_is_the_recorded_one() -> None:
    for record, answer in responses():
        told, usage = record["response_body"]["usageMetadata"], answer.usage
        assert usage.cache_read == told.get("cachedContentTokenCount", 0), record["id"]
        prompt = told.get("promptTokenCount", 0) + told.get("toolUsePromptTokenCount", 0)
        assert usage.input_total == prompt, record["id"]
        assert usage.input_total + usage.output == told.get("totalTokenCount", 0), record["id"]


@promised("recorded-words", "google")
def test_the_text_and_stop_of_every_recorded_answer_are_the_recorded_ones() -> None:
    for record, answer in responses():
        candidate = (record["response_body"].get("candidates") or [{"finishReason": "MODEL_ARMOR"}])[0]
        reason = candidate["finishReason"]
        expected = StopReason.REFUSED if reason in _REFUSED else StopReason.TRUNCATED if reason in _CUT else None
        assert answer.stop is (expected or StopReason.COMPLETE), record["id"]
        parts = candidate.get("content", {}).get("parts", [])
        text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        if not text.lstrip().startswith("```"):
            assert answer.text == text, record["id"]


def test_recorded_answers_include_cache_reads_thoughts_refusals_and_cut_ones() -> None:
    """Otherwise the tests above prove less than they say."""
    assert any(answer.usage.cache_read for _, answer in responses())
    assert any("thoughtsTokenCount" in record["response_body"]["usageMetadata"] for record, _ in responses())
    assert {answer.stop for _, answer in responses()} == set(StopReason) - {StopReason.TOOLS}
