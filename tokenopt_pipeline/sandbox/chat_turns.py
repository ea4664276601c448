"""Turns with tools in Chat Completions: what may be called, and whether every call has been answered.

The words about unanswered calls and lonely results are OpenAI's, which compatible servers repeat; those about `tool_choice` are
vLLM's, those of a server without tools Ollama's. All are quoted in public issues.
"""

from __future__ import annotations

import re

from tokenopt_pipeline.sandbox import chat_errors as errors
from tokenopt_pipeline.sandbox.chat_config import CustomServer
from tokenopt_pipeline.sandbox.json_value import JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.tool_calls import Offer, OfferedTool

_PATTERN = "^[a-zA-Z0-9_-]{1,64}$"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHOICES = ("none", "auto", "required")


def read_offer(fields: JsonObject, server: CustomServer) -> Offer:
    """What the model may call. Raises ChatRefused."""
    rounds = _check_turns(fields, server)
    tools = _tools(fields, server)
    choice = fields.get("tool_choice")
    if choice is None:
        choice = "auto" if tools else "none"
    elif not tools and choice != "none":
        raise errors.invalid(server, "When using `tool_choice`, `tools` must be set.", "tool_choice")
    forced = None
    if isinstance(choice, dict):
        forced = as_object(choice.get("function")).get("name")
        tools = [tool for tool in tools if tool.name == forced]
        if choice.get("type") != "function" or not tools:
            raise errors.invalid(
                server, "The tool specified in `tool_choice` does not match any of the specified `tools`", "tool_choice"
            )
    elif choice not in _CHOICES:
        raise errors.invalid(server, f"tool_choice: unknown value {choice!r}", "tool_choice")
    return Offer(
        tools=() if choice == "none" else tuple(tools),
        must_call=forced is not None or choice == "required",
        is_forced=forced is not None,
        several=fields.get("parallel_tool_calls") is not False,
        rounds=rounds,
    )


def calls_text(message: JsonObject) -> str:
    """What the model reads of a message's calls."""
    called = [as_object(as_object(call).get("function")) for call in as_list(message.get("tool_calls"))]
    return "".join(f"{function.get('name')}{function.get('arguments')}" for function in called)


def _tools(fields: JsonObject, server: CustomServer) -> list[OfferedTool]:
    tools = []
    for index, tool in enumerate(as_list(fields.get("tools"))):
        if not server.tools:
            raise errors.invalid(server, f"{fields.get('model')} does not support tools", "tools")
        function = as_object(as_object(tool).get("function"))
        name, where = function.get("name"), f"tools[{index}].function"
        if as_object(tool).get("type") != "function" or not isinstance(name, str):
            raise errors.invalid(server, f"{where}.name: field required", f"{where}.name")
        if not _NAME.fullmatch(name):
            raise errors.invalid(
                server,
                f"Invalid '{where}.name': string does not match pattern. Expected a string that matches the pattern"
                f" '{_PATTERN}'.",
                f"{where}.name",
            )
        schema = as_object(function.get("parameters"))
        if schema and schema.get("type") != "object":
            raise errors.invalid(server, f"{where}.parameters.type: must be 'object'", f"{where}.parameters")
        tools.append(OfferedTool(name=name, schema=schema))
    return tools


def _check_turns(fields: JsonObject, server: CustomServer) -> int:
    """How many answers called tools, each of which has been answered. Raises ChatRefused."""
    waiting: list[str] = []
    rounds = 0
    messages = [as_object(message) for message in as_list(fields.get("messages"))]
    for index, message in enumerate(messages):
        where = f"messages.[{index}].role"
        if message.get("role") == "tool":
            identifier = str(message.get("tool_call_id"))
            if identifier not in waiting:
                raise errors.invalid(
                    server,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    " 'tool_calls'.",
                    where,
                )
            waiting.remove(identifier)
            continue
        if waiting:
            raise _unanswered(server, waiting, where)
        waiting = _calls(message, server, index)
        rounds += bool(waiting)
    if waiting:
        raise _unanswered(server, waiting, f"messages.[{len(messages)}].role")
    return rounds


def _calls(message: JsonObject, server: CustomServer, index: int) -> list[str]:
    found = []
    for number, call in enumerate(map(as_object, as_list(message.get("tool_calls")))):
        function = as_object(call.get("function"))
        where = f"messages[{index}].tool_calls[{number}]"
        if message.get("role") != "assistant":
            raise errors.invalid(server, f"{where}: only an assistant message calls tools", where)
        for value, name in (
            (call.get("id"), "id"),
            (function.get("name"), "function.name"),
            (function.get("arguments"), "function.arguments"),
        ):
            if not isinstance(value, str):
                raise errors.invalid(server, f"{where}.{name}: field required", f"{where}.{name}")
        found.append(str(call["id"]))
    return found


def _unanswered(server: CustomServer, identifiers: list[str], where: str) -> Exception:
    return errors.invalid(
        server,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The"
        f" following tool_call_ids did not have response messages: {', '.join(identifiers)}",
        where,
    )
