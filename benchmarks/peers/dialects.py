"""What the stand-in understands of three wires: Chat Completions, Responses, Messages. What is asked in, what is answered out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, whatever its wire."""

    #: All that is billed as input, in an order that shared prefixes share.
    prompt: str
    #: The part that the user said.
    user: str
    schema: Mapping[str, Any]
    #: Name of the tool that is to carry the answer; None: the answer is text.
    tool: str | None
    #: Characters that the request asks to have kept; None: the provider keeps prefixes unasked.
    marked: int | None = None
    #: Whether it is to be kept for an hour and not for minutes, which costs more to write.
    is_long: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Tokens of one answer."""

    fresh: int
    read: int
    written: int
    #: Likewise, to be kept for an hour.
    written_long: int
    output: int


#: (Wire, body).
Request = tuple[str, Mapping[str, Any]]


def asked_in(request: Request) -> Asked:
    """What a request asks."""
    wire, body = request
    return {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages}[wire](body)


def answered(request: Request, asked: Asked, text: str, bill: Bill, *, number: int) -> dict[str, Any]:
    """The body of an answer."""
    wire, body = request
    head = {"model": body["model"]}
    written = bill.written + bill.written_long
    sent = bill.fresh + bill.read + written
    if wire == MESSAGES:
        return {
            **head,
            "id": f"msg_{number:08}",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": bill.fresh,
                "cache_creation_input_tokens": written,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": bill.written,
                    "ephemeral_1h_input_tokens": bill.written_long,
                },
                "cache_read_input_tokens": bill.read,
                "output_tokens": bill.output,
            },
        }
    if wire == RESPONSES:
        part = {"type": "output_text", "text": text, "annotations": []}
        said = {"id": f"m_{number}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        return {
            **head,
            "id": f"resp_{number:08}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": "completed",
            "output": [said],
            "usage": {
                "input_tokens": sent,
                "input_tokens_details": {"cached_tokens": bill.read},
                "output_tokens": bill.output,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": sent + bill.output,
            },
        }
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if asked.tool is not None:
        call = {"id": f"call_{number}", "type": "function", "function": {"name": asked.tool, "arguments": text}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reason = "stop" if asked.tool is None else "tool_calls"
    return {
        **head,
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": sent,
            "completion_tokens": bill.output,
            "total_tokens": sent + bill.output,
            "prompt_tokens_details": {"cached_tokens": bill.read},
        },
    }


def _chat(body: Mapping[str, Any]) -> Asked:
    tools, form = body.get("tools") or [], body.get("response_format") or {}
    schema = tools[0]["function"]["parameters"] if tools else form.get("json_schema", {}).get("schema", {})
    return Asked(
        prompt=json.dumps([tools, form]) + "".join(_text(m) for m in body["messages"]),
        user="".join(_text(m) for m in body["messages"] if m["role"] == "user"),
        schema=schema,
        tool=tools[0]["function"]["name"] if tools else None,
    )


def _responses(body: Mapping[str, Any]) -> Asked:
    form = body.get("text", {}).get("format", {})
    return Asked(
        prompt=json.dumps(form) + "".join(_text(m) for m in body["input"]),
        user="".join(_text(m) for m in body["input"] if m.get("role") == "user"),
        schema=form.get("schema", {}),
        tool=None,
    )


def _messages(body: Mapping[str, Any]) -> Asked:
    form = body.get("output_config", {}).get("format", {})
    system = body.get("system") or []
    parts: list[dict[str, Any]] = [{"text": system}] if isinstance(system, str) else system
    head, marked, is_long = json.dumps(form), 0, False
    for part in parts:
        head += part["text"]
        if "cache_control" in part:
            marked, is_long = len(head), part["cache_control"].get("ttl") == "1h"
    user = "".join(_text(m) for m in body["messages"] if m["role"] == "user")
    schema = form.get("schema", {})
    return Asked(prompt=head + user, user=user, schema=schema, tool=None, marked=marked, is_long=is_long)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)
