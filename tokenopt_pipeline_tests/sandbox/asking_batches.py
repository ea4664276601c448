"""Batches the sandbox's tests send to Anthropic, every default valid."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from .asking import MODEL, TEXTS, json_format, pack_schema, pack_text

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def params(*texts: str, **more: Any) -> dict[str, Any]:
    """What one item asks: a pack of `texts` (the defaults when none) with structured output."""
    return {
        "model": MODEL,
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": pack_text(*(texts or TEXTS))}],
        "output_config": json_format(pack_schema()),
        **more,
    }


def requests(count: int, **more: Any) -> list[dict[str, Any]]:
    """`count` different requests, `item-0` and so on."""
    return [{"custom_id": f"item-{n}", "params": params(f"Unit {n} costs {n} euros.", **more)} for n in range(count)]


def create(client: anthropic.Anthropic, count: int = 3, **more: Any) -> MessageBatch:
    """A batch of `count` requests."""
    asked: Any = requests(count, **more)
    return client.messages.batches.create(requests=asked)


def results(client: anthropic.Anthropic, batch_id: str) -> list[MessageBatchIndividualResponse]:
    """Every line of a batch's results, in the order it came."""
    return list(client.messages.batches.results(batch_id))


def entries(result: MessageBatchIndividualResponse) -> list[dict[str, Any]]:
    """The entries of a pack's answer."""
    assert result.result.type == "succeeded"
    text = "".join(block.text for block in result.result.message.content if block.type == "text")
    found: list[dict[str, Any]] = json.loads(text)["results"]
    return found
