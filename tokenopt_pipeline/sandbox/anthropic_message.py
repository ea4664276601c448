"""A reply in Anthropic's wire shape: the message object, and the same as a stream of events."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.anthropic_request import MessagesRequest
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Reply

_DELTA_CHARS = 48
_REFUSAL_EXPLANATION = "This request triggered restrictions and was blocked under the usage policy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Everything a message object is made of."""

    message_id: str
    request: MessagesRequest
    reply: Reply
    tool_name: str | None
    thinking_tokens: int | None
    """None when the model did not think; what thinking cost otherwise, possibly 0."""
    use: CacheUse

    @property
    def output_tokens(self) -> int:
        """Everything billed as output."""
        return self.reply.output_tokens + (self.thinking_tokens or 0)

    @property
    def stop_reason(self) -> str:
        """Why the model stopped."""
        if self.reply.refused:
            return "refusal"
        if self.reply.truncated:
            return "max_tokens"
        return "tool_use" if self.reply.as_tool else "end_turn"


def thinks(request: MessagesRequest) -> bool:
    """Whether the reply begins with a thinking block; a forced tool call leaves no room for one."""
    if request.forces_tool:
        return False
    if request.thinking is None:
        return request.model.thinks_by_default
    return request.thinking in ("adaptive", "enabled")


def tool_for(request: MessagesRequest) -> JsonObject | None:
    """The tool the reply calls: the forced one, or the first while no result of one is in the conversation's last turn."""
    tools = [block.value for block in request.tools if "input_schema" in block.value]
    if not tools or request.tool_choice == "none":
        return None
    if request.forced_tool is not None:
        return next((tool for tool in tools if tool["name"] == request.forced_tool), None)
    if request.tool_choice == "auto" and request.messages[-1].value.get("type") == "tool_result":
        return None
    return tools[0]


def message_body(answered: Answered) -> JsonObject:
    """The message object."""
    return {
        **_envelope(answered),
        "content": _content(answered),
        "stop_reason": answered.stop_reason,
        "stop_details": _stop_details(answered),
        "usage": _usage(answered, answered.output_tokens),
    }


def events(answered: Answered) -> Iterator[tuple[bytes, int]]:
    """Server-sent events, each with the output tokens the model needed for it."""
    start: JsonObject = {**_envelope(answered), "content": [], "usage": _usage(answered, 1)}
    yield _event("message_start", {"message": start}), 0
    for index, block in enumerate(_content(answered)):
        yield from _block_events(index, as_object(block), answered)
    usage = _usage(answered, answered.output_tokens)
    delta: JsonObject = {
        "stop_reason": answered.stop_reason,
        "stop_sequence": None,
        "stop_details": _stop_details(answered),
    }
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    yield _event("message_delta", {"delta": delta, "usage": {name: usage[name] for name in counted}}), 0
    yield _event("message_stop", {}), 0


def _envelope(answered: Answered) -> JsonObject:
    return {
        "model": answered.request.model.id,
        "id": answered.message_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }


def _content(answered: Answered) -> list[Json]:
    content: list[Json] = []
    reply = answered.reply
    if reply.refused or answered.request.max_tokens == 0:
        return content
    seed = hashlib.sha256(answered.message_id.encode()).digest()
    if answered.thinking_tokens is not None:
        signature = base64.b64encode(seed * 4).decode()
        content.append({"type": "thinking", "thinking": "", "signature": signature})
    if reply.as_tool:
        content.append(
            {
                "type": "tool_use",
                "id": f"toolu_01{seed.hex()[:22]}",
                "name": answered.tool_name,
                "input": reply.value,
                "caller": {"type": "direct"},
            }
        )
    elif reply.text:
        content.append({"type": "text", "text": reply.text})
    return content


def _usage(answered: Answered, output_tokens: int) -> JsonObject:
    use = answered.use
    return {
        "input_tokens": use.uncached_tokens,
        "cache_creation_input_tokens": use.write_5m_tokens + use.write_1h_tokens,
        "cache_read_input_tokens": use.read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": use.write_5m_tokens,
            "ephemeral_1h_input_tokens": use.write_1h_tokens,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": answered.thinking_tokens or 0},
        "service_tier": "standard",
        "inference_geo": answered.request.model.inference_geo,
    }


def _stop_details(answered: Answered) -> Json:
    if not answered.reply.refused:
        return None
    return {"type": "refusal", "category": "general_harms", "explanation": _REFUSAL_EXPLANATION}


def _block_events(index: int, block: JsonObject, answered: Answered) -> Iterator[tuple[bytes, int]]:
    kind = block["type"]
    tokens = answered.reply.output_tokens
    deltas: list[JsonObject]
    if kind == "thinking":
        empty: JsonObject = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "signature_delta", "signature": block["signature"]}]
        tokens = answered.thinking_tokens or 0
    elif kind == "tool_use":
        empty = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", *_parts(answered.reply.text))]
    else:
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in _parts(answered.reply.text)]
    yield _event("content_block_start", {"index": index, "content_block": empty}), 0
    if index == 0:
        yield _event("ping", {}), 0
    for number, delta in enumerate(deltas):
        share = tokens * (number + 1) // len(deltas) - tokens * number // len(deltas)
        yield _event("content_block_delta", {"index": index, "delta": delta}), share
    yield _event("content_block_stop", {"index": index}), 0


def _parts(text: str) -> list[str]:
    return [text[start : start + _DELTA_CHARS] for start in range(0, len(text), _DELTA_CHARS)]


def _event(name: str, fields: JsonObject) -> bytes:
    body = json.dumps({"type": name, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {body}\n\n".encode("utf-8", "replace")


def question_text(request: MessagesRequest) -> tuple[str, str]:
    """The system part's text, and the text of the last user message."""
    system = "\n".join(block.text for block in request.system)
    last_user = max((index for index, role in enumerate(request.roles) if role == "user"), default=0)
    prefix = f"messages.{last_user}."
    texts = [block.text for block in request.messages if f"{block.location}.".startswith(prefix)]
    return system, "\n".join(texts)


def tool_schema(tool: JsonObject | None) -> JsonObject | None:
    """The schema of a tool's input."""
    return None if tool is None else as_object(tool["input_schema"])


def block_texts(request: MessagesRequest) -> Iterator[str]:
    """Every text of the prompt, for scripts that look for one."""
    for block in request.blocks:
        yield block.text if block.role != "tool" else json.dumps(as_list([block.value]), ensure_ascii=False)
