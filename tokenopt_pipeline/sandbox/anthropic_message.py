"""A reply in Anthropic's wire shape: the message object, and the same as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.anthropic_request import MessagesRequest
from tokenopt_pipeline.sandbox.anthropic_turns import brings_results, thinking_block, tool_use_id
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.pack import asked_in
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Reply, ToolUse
from tokenopt_pipeline.sandbox.tokens import tokens_of

_DELTA_CHARS = 48
_REFUSAL_EXPLANATION = "This request triggered restrictions and was blocked under the usage policy."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Everything a message object is made of."""

    message_id: str
    request: MessagesRequest
    reply: Reply
    key: str
    """The caller's, which thinking is sealed for."""
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
        return "tool_use" if self.reply.calls else "end_turn"


def thinks(request: MessagesRequest) -> bool:
    """Whether the reply begins with a thinking block; a forced tool call leaves no room for one."""
    if request.forces_tool:
        return False
    if request.thinking is None:
        return request.model.thinks_by_default
    if request.thinking == "between_tools":
        return brings_results(request)
    return request.thinking in ("adaptive", "enabled")


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
    calls = iter(answered.reply.calls)
    for index, block in enumerate(_content(answered)):
        use = next(calls) if as_object(block)["type"] == "tool_use" else None
        yield from _block_events(index, as_object(block), answered, use)
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
    thought = answered.thinking_tokens is not None
    if thought:
        content.append(thinking_block(answered.request, answered.key, answered.message_id))
    for index, use in enumerate(reply.calls):
        content.append(
            {
                "type": "tool_use",
                "id": tool_use_id(answered.message_id, index, after_thinking=thought),
                "name": use.name,
                "input": use.arguments,
                "caller": {"type": "direct"},
            }
        )
    if reply.text and not reply.calls:
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


def _block_events(
    index: int, block: JsonObject, answered: Answered, use: ToolUse | None
) -> Iterator[tuple[bytes, int]]:
    kind = block["type"]
    tokens = answered.reply.output_tokens
    deltas: list[JsonObject]
    if kind == "thinking":
        empty: JsonObject = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "signature_delta", "signature": block["signature"]}]
        tokens = answered.thinking_tokens or 0
    elif use is not None:
        empty = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", *_parts(use.text))]
        tokens = tokens_of(use.text)
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
    """The system part's text, and what the user asks."""
    system = "\n".join(block.text for block in request.system)
    texts: dict[int, list[str]] = {}
    for block in request.messages:
        if block.role == "user" and block.value.get("type") != "tool_result":
            texts.setdefault(block.message, []).append(block.text)
    return system, asked_in(["\n".join(said) for said in texts.values()])


def block_texts(request: MessagesRequest) -> Iterator[str]:
    """Every text of the prompt, for scripts that look for one."""
    for block in request.blocks:
        yield block.text if block.role != "tool" else json.dumps(as_list([block.value]), ensure_ascii=False)
