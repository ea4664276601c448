"""Tools in Gemini's dialect: function declarations, and calls and responses as parts of contents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.tool_reading import carried_back, distinct, tool_call
from tokenopt_pipeline.domain.requests import ModelRequest, Turn
from tokenopt_pipeline.domain.tools import Tool, ToolCall

if TYPE_CHECKING:
    from google.genai import types

# From here on, tools and an output schema may stand in one request (function calling guide, 2026-11).
_FIRST_WITH_BOTH = 3
_NUMBERED = re.compile(r"gemini-(\d+)")


def takes_both(model: str) -> bool:
    """Whether the model takes tools beside an output schema."""
    found = _NUMBERED.match(model)
    return found is not None and int(found[1]) >= _FIRST_WITH_BOTH


def declarations(tools: Sequence[Tool]) -> types.Tool:
    """The tools as a request declares them: in JSON Schema, not in the SDK's older subset of OpenAPI."""
    from google.genai import types

    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(
                name=tool.wire_name, description=tool.description, parameters_json_schema=tool.declared_schema
            )
            for tool in tools
        ]
    )


def contents(request: ModelRequest) -> list[dict[str, Any]]:
    """The conversation as the API reads it: what the model said goes back as it came, signatures included."""
    said: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": request.user}]}]
    for turn in request.turns:
        answer = carried_back(turn.carry)
        said += [answer, {"role": "user", "parts": _told(turn, answer)}]
    return said


def calls_in(parts: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls among the parts; one without an id is known by its place. Raises ValueError."""
    return distinct(tool_call(call_id, call.get("name"), call.get("args")) for call_id, call in _calls(parts))


def _calls(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), dict)]
    for place, call in enumerate(found):
        yield str(call.get("id") or f"call-{place}"), call


def _told(turn: Turn, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = {result.call_id: result for result in turn.results}
    parts: list[dict[str, Any]] = []
    for call_id, call in _calls(answer["parts"]):
        result = results[call_id]
        response: dict[str, Any] = {
            "name": call["name"],
            "response": {"error" if result.is_error else "output": result.text},
        }
        parts.append({"functionResponse": {"id": call["id"], **response} if call.get("id") else response})
    return [*parts, {"text": turn.note}] if turn.note else parts
