"""Tools in OpenAI's two dialects: items of the Responses API, and messages of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenopt_pipeline.adapters.openai_dialect import to_dialect
from tokenopt_pipeline.adapters.schema_reading import NotExpressible
from tokenopt_pipeline.adapters.tool_reading import carried_back, distinct, marked_ends, tool_call
from tokenopt_pipeline.domain.requests import ModelRequest
from tokenopt_pipeline.domain.tools import Tool, ToolCall

# What servers say in a message that they want to read again. Others of their members some refuse.
_PASSED_BACK = ("content", "tool_calls", "reasoning", "reasoning_content", "reasoning_details")


def declarations(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools as the Responses API declares them; strict where the schema is one that strict mode takes as it stands."""
    return [
        # Left out, `strict` would mean true.
        {"type": "function", **_function(tool), "strict": _is_strict(tool.declared_schema)}
        for tool in tools
    ]


def items(request: ModelRequest, *, mark: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The conversation from the user's part on; `mark` is put at some ends of turns, None: nowhere."""
    user: dict[str, Any] = {"type": "input_text", "text": request.user}
    said: list[dict[str, Any]] = [{"role": "user", "content": [user]}]
    ends = [user]
    for turn in request.turns:
        said += carried_back(turn.carry)
        end = ends[-1]
        for result in turn.results:
            # A mark stands on a part, so the output is a list of parts, also when its mark has moved on.
            end = {"type": "input_text", "text": result.text}
            output: object = result.text if mark is None else [end]
            said.append({"type": "function_call_output", "call_id": result.call_id, "output": output})
        if turn.note:
            end = {"type": "input_text", "text": turn.note}
            said.append({"role": "user", "content": [end]})
        ends.append(end)
    if mark is not None and request.tools:
        for part in marked_ends(ends):
            part["prompt_cache_breakpoint"] = dict(mark)
    return said


def calls_in_items(output: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """The calls of a response. Raises ValueError."""
    return distinct(
        tool_call(item.get("call_id"), item.get("name"), item.get("arguments"))
        for item in output
        if item.get("type") == "function_call"
    )


def chat_declarations(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools as Chat Completions declares them. Without `strict`, which only some servers know."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def chat_messages(request: ModelRequest) -> list[dict[str, Any]]:
    """The conversation from the user's part on."""
    said: list[dict[str, Any]] = [{"role": "user", "content": request.user}]
    for turn in request.turns:
        said.append(carried_back(turn.carry))
        said += [{"role": "tool", "tool_call_id": r.call_id, "content": r.text} for r in turn.results]
        said += [{"role": "user", "content": turn.note}] if turn.note else []
    return said


def chat_answer(message: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[ToolCall, ...]]:
    """(the message as it is passed back, its calls). Raises ValueError.

    Some servers give calls no id; then the place of the call is its id, here and in the message.
    """
    passed: dict[str, Any] = {"role": "assistant", "content": None}
    passed |= {key: message[key] for key in _PASSED_BACK if message.get(key) is not None}
    found = passed.pop("tool_calls", None)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found) or not found:
        return passed, ()
    passed["tool_calls"] = [{**call, "id": call.get("id") or f"call-{place}"} for place, call in enumerate(found)]
    calls = []
    for call in passed["tool_calls"]:
        function = call.get("function")
        said = function if isinstance(function, dict) else {}
        calls.append(tool_call(call["id"], said.get("name"), said.get("arguments")))
    return passed, distinct(calls)


def _function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.wire_name, "description": tool.description, "parameters": tool.declared_schema}


def _is_strict(schema: Mapping[str, Any]) -> bool:
    try:
        strict = to_dialect(schema)
    except NotExpressible:
        return False
    return strict.schema == schema and not strict.adds_null
