"""Tools in Anthropic's dialect: declarations, calls and results as content blocks of the Messages API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenopt_pipeline.adapters.anthropic_dialect import (
    MOST_OPTIONAL_PROPERTIES,
    MOST_UNIONS,
    NotExpressible,
    grammar_load,
    to_dialect,
)
from tokenopt_pipeline.adapters.tool_reading import carried_back, distinct, marked_ends, tool_call
from tokenopt_pipeline.domain.requests import ModelRequest, Turn
from tokenopt_pipeline.domain.tools import Tool, ToolCall

# Of one request (structured outputs guide, 2026-08).
_MOST_STRICT_TOOLS = 20
_TURN_TTL = "5m"


def declarations(
    tools: Sequence[Tool], *, output_format: Mapping[str, Any] | None, strict: bool = True
) -> list[dict[str, Any]]:
    """The tools as a request declares them.

    Strict where the schema is one that structured outputs take as it stands, as long as all of them and the output
    format stay within the limits that they share; `strict=False`: none, for models that know nothing of it.
    """
    optional, unions = (0, 0) if output_format is None else grammar_load(output_format)
    room = _MOST_STRICT_TOOLS if strict else 0
    declared = []
    for tool in tools:
        schema = tool.declared_schema
        entry: dict[str, Any] = {"name": tool.wire_name, "description": tool.description, "input_schema": schema}
        if room and _is_strict(schema):
            own_optional, own_unions = grammar_load(schema)
            if optional + own_optional <= MOST_OPTIONAL_PROPERTIES and unions + own_unions <= MOST_UNIONS:
                optional, unions, room = optional + own_optional, unions + own_unions, room - 1
                entry["strict"] = True
        declared.append(entry)
    return declared


def messages(request: ModelRequest) -> list[dict[str, Any]]:
    """The conversation. With a cache mark on the prefix, some ends of turns are marked, too."""
    said: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": request.user}]}]
    for turn in request.turns:
        answer = carried_back(turn.carry)
        said += [{"role": "assistant", "content": answer}, {"role": "user", "content": _told(turn, answer)}]
    if request.cache_ttl is not None and request.tools and request.marks_turns:
        ends = [message["content"][-1] for message in said if message["role"] == "user"]
        for block in marked_ends(ends):
            block["cache_control"] = {"type": "ephemeral", "ttl": _TURN_TTL}
    return said


def calls_in(content: Sequence[Mapping[str, Any]], *, but: str) -> tuple[ToolCall, ...]:
    """The calls among the blocks, except of the tool that answers are recorded with. Raises ValueError."""
    return distinct(
        tool_call(block.get("id"), block.get("name"), block.get("input"))
        for block in content
        if block.get("type") == "tool_use" and block.get("name") != but
    )


def _told(turn: Turn, answer: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results first, as the API demands, one for every call of the answer."""
    results = {result.call_id: result for result in turn.results}
    blocks: list[dict[str, Any]] = []
    for call_id in [block["id"] for block in answer if block.get("type") == "tool_use"]:
        found = results.get(call_id)
        text = "Not recorded: record the results alone, when all is known." if found is None else found.text
        block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
        blocks.append({**block, "is_error": True} if found is None or found.is_error else block)
    return [*blocks, {"type": "text", "text": turn.note}] if turn.note else blocks


def _is_strict(schema: Mapping[str, Any]) -> bool:
    try:
        return to_dialect(schema) == schema
    except NotExpressible:
        return False
