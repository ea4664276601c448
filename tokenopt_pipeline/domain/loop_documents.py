"""A tool loop as JSON values: between the rounds of a batch run, it waits in a store."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tokenopt_pipeline.domain.bridge import Loop
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.requests import Turn
from tokenopt_pipeline.domain.tools import Toolbox, ToolOutcome, ToolResult


def loop_document(loop: Loop) -> dict[str, Any]:
    """Everything of the loop but its tools and bounds, which belong to the run."""
    return {
        "max_tokens": loop.max_tokens,
        "next_input_tokens": loop.next_input_tokens,
        "turns": [
            [turn.carry, [[r.call_id, r.text, r.is_error] for r in turn.results], turn.note] for turn in loop.turns
        ],
        "requests": loop.requests,
        "tool_calls": loop.tool_calls,
        "tokens": loop.tokens,
        "usd": str(loop.usd),
        "known": {key: [o.text, o.structured, o.is_error] for key, o in loop.known.items()},
        "answer_now": loop.answer_now,
    }


def loop_of(document: Mapping[str, Any], *, tools: Toolbox, bounds: BridgePolicy) -> Loop:
    """The loop behind its document: `loop_of(loop_document(l), tools=l.tools, bounds=l.bounds) == l`."""
    return Loop(
        tools=tools,
        bounds=bounds,
        max_tokens=document["max_tokens"],
        next_input_tokens=document["next_input_tokens"],
        turns=tuple(
            Turn(
                carry=carry,
                results=tuple(ToolResult(call_id=i, text=text, is_error=error) for i, text, error in results),
                note=note,
            )
            for carry, results, note in document["turns"]
        ),
        requests=document["requests"],
        tool_calls=document["tool_calls"],
        tokens=document["tokens"],
        usd=Decimal(document["usd"]),
        known={
            key: ToolOutcome(text=text, structured=structured, is_error=error)
            for key, (text, structured, error) in document["known"].items()
        },
        answer_now=document["answer_now"],
    )
