"""A reply in the wire shape of OpenAI's Responses API: the response object, and the same as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object
from tokenopt_pipeline.sandbox.openai_request import ResponsesRequest
from tokenopt_pipeline.sandbox.openai_turns import encrypted_reasoning, item_id
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Reply
from tokenopt_pipeline.sandbox.seals import digest_of
from tokenopt_pipeline.sandbox.tokens import tokens_of

_Event = Callable[[str, JsonObject], bytes]
"""Kind and fields -> one event as bytes."""

_DELTA_CHARS = 48
_REFUSAL = "I'm sorry, but I can't assist with that request."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Everything a response object is made of."""

    response_id: str
    created_s: float
    """Seconds since the epoch."""
    request: ResponsesRequest
    key: str
    """The caller's, which reasoning is sealed for."""
    reply: Reply
    filtered: bool
    """Whether a filter stopped the answer, rather than the model itself."""
    reasoning_tokens: int | None
    """None when the model did not reason; what reasoning cost otherwise, possibly 0."""
    use: CacheUse

    @property
    def output_tokens(self) -> int:
        """Everything billed as output."""
        return self.reply.output_tokens + (self.reasoning_tokens or 0)

    @property
    def incomplete_reason(self) -> str | None:
        """Why the answer is not whole; None when it is."""
        if self.filtered:
            return "content_filter"
        return "max_output_tokens" if self.reply.truncated else None

    @property
    def stop_reason(self) -> str:
        """What the counters call it."""
        if self.incomplete_reason is not None:
            return f"incomplete:{self.incomplete_reason}"
        return "refusal" if self.reply.refused else "completed"


def response_body(answered: Answered) -> JsonObject:
    """The finished response object."""
    reason = answered.incomplete_reason
    return {
        **_envelope(answered),
        "status": "completed" if reason is None else "incomplete",
        "completed_at": int(answered.created_s) if reason is None else None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": _output(answered),
        "usage": _usage(answered),
    }


def events(answered: Answered) -> Iterator[tuple[bytes, int]]:
    """Server-sent events, each with the output tokens the model needed for it."""
    number = 0

    def event(kind: str, fields: JsonObject) -> bytes:
        nonlocal number
        body = json.dumps(
            {"type": kind, **fields, "sequence_number": number}, ensure_ascii=False, separators=(",", ":")
        )
        number += 1
        return f"event: {kind}\ndata: {body}\n\n".encode("utf-8", "replace")

    yield event("response.created", {"response": _envelope(answered)}), 0
    yield event("response.in_progress", {"response": _envelope(answered)}), 0
    for index, item in enumerate(_output(answered)):
        yield from _item_events(event, index, as_object(item), answered)
    body = response_body(answered)
    yield event(f"response.{body['status']}", {"response": body}), 0


def _item_events(event: _Event, index: int, item: JsonObject, answered: Answered) -> Iterator[tuple[bytes, int]]:
    begun: JsonObject = {**item, "status": "in_progress"} if "status" in item else item
    if item["type"] == "message":
        begun["content"] = []
    if item["type"] == "function_call":
        begun["arguments"] = ""
    tokens = (answered.reasoning_tokens or 0) if item["type"] == "reasoning" else 0
    yield event("response.output_item.added", {"output_index": index, "item": begun}), tokens
    if item["type"] == "function_call":
        called: JsonObject = {"item_id": item["id"], "output_index": index}
        arguments = str(item["arguments"])
        for piece, share in _pieces(arguments, tokens_of(arguments)):
            yield event("response.function_call_arguments.delta", {**called, "delta": piece}), share
        yield event("response.function_call_arguments.done", {**called, "arguments": arguments}), 0
    for content_index, content in enumerate(as_list(item.get("content"))):
        part = as_object(content)
        kind = str(part["type"])
        key = "refusal" if kind == "refusal" else "text"
        text = str(part[key])
        where: JsonObject = {"item_id": item["id"], "output_index": index, "content_index": content_index}
        yield event("response.content_part.added", {**where, "part": {**part, key: ""}}), 0
        name = "response.refusal" if kind == "refusal" else "response.output_text"
        extra: JsonObject = {} if kind == "refusal" else {"logprobs": []}
        for piece, share in _pieces(text, answered.reply.output_tokens):
            yield event(f"{name}.delta", {**where, "delta": piece, **extra}), share
        yield event(f"{name}.done", {**where, key: text, **extra}), 0
        yield event("response.content_part.done", {**where, "part": part}), 0
    yield event("response.output_item.done", {"output_index": index, "item": item}), 0


def _pieces(text: str, tokens: int) -> Iterator[tuple[str, int]]:
    """`text` in pieces, each with its share of `tokens`."""
    pieces = [text[start : start + _DELTA_CHARS] for start in range(0, len(text), _DELTA_CHARS)]
    for step, piece in enumerate(pieces):
        yield piece, tokens * (step + 1) // len(pieces) - tokens * step // len(pieces)


def _output(answered: Answered) -> list[Json]:
    output: list[Json] = []
    if answered.filtered or answered.request.prewarm:
        return output
    reasons, stored = answered.reasoning_tokens is not None, answered.request.body.get("store") is not False
    name = partial(item_id, response_id=answered.response_id, reasons=reasons, stored=stored)
    if reasons:
        reasoning_id = name("rs")
        reasoning: JsonObject = {"id": reasoning_id, "type": "reasoning", "summary": []}
        content = encrypted_reasoning(answered.request, answered.key, reasoning_id)
        output.append(reasoning if content is None else {**reasoning, "encrypted_content": content})
    if answered.reply.calls:
        return [*output, *_calls(answered, [name("fc", index=index) for index in range(len(answered.reply.calls))])]
    part: JsonObject = {
        "type": "output_text",
        "annotations": [],
        "logprobs": [],
        "text": answered.reply.text,
    }
    if answered.reply.refused:
        part = {"type": "refusal", "refusal": _REFUSAL}
    elif not answered.reply.text:
        return output
    output.append(
        {
            "id": name("msg"),
            "type": "message",
            "status": "incomplete" if answered.reply.truncated else "completed",
            "content": [part],
            "role": "assistant",
        }
    )
    return output


def _calls(answered: Answered, call_ids: list[str]) -> Iterator[Json]:
    last = len(answered.reply.calls) - 1
    for index, use in enumerate(answered.reply.calls):
        yield {
            "id": call_ids[index],
            "type": "function_call",
            "status": "incomplete" if answered.reply.truncated and index == last else "completed",
            "arguments": use.text,
            "call_id": f"call_{digest_of('call', call_ids[index])[:24]}",
            "name": use.name,
        }


def _envelope(answered: Answered) -> JsonObject:
    request, body = answered.request, answered.request.body
    envelope: JsonObject = {
        "id": answered.response_id,
        "object": "response",
        "created_at": int(answered.created_s),
        "status": "in_progress",
        "background": False,
        "billing": {"payer": "developer"},
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": body.get("max_tool_calls"),
        "model": request.model.id,
        "moderation": None,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "prompt_cache_retention": body.get("prompt_cache_retention") or _default_retention(request),
        "reasoning": {"effort": request.effort, "summary": None},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": _format(request), "verbosity": request.verbosity},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": list[Json](request.tools),
        "top_logprobs": 0,
        "top_p": body.get("top_p", 0.98),
        "truncation": body.get("truncation", "disabled"),
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }
    if request.model.breakpoints:
        envelope["prompt_cache_options"] = {"mode": request.cache_mode, "ttl": request.cache_ttl}
    return envelope


def _default_retention(request: ResponsesRequest) -> str:
    return "24h" if request.model.breakpoints else "in_memory"


def _format(request: ResponsesRequest) -> JsonObject:
    if request.format_schema is None:
        return {"type": request.format_kind}
    form = as_object(as_object(request.body.get("text")).get("format"))
    return {
        "type": "json_schema",
        "description": form.get("description"),
        "name": request.format_name,
        "schema": request.format_schema,
        "strict": request.strict,
    }


def _usage(answered: Answered) -> JsonObject:
    use = answered.use
    input_tokens = use.read_tokens + use.written_tokens + use.uncached_tokens
    details: JsonObject = {"cache_write_tokens": use.written_tokens, "cached_tokens": use.read_tokens}
    if use.written_tokens:
        details["cache_write_tokens_details"] = {
            "ttl_30m_tokens": use.write_30m_tokens,
            "ttl_12h_tokens": use.write_12h_tokens,
        }
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": details,
        "output_tokens": answered.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answered.reasoning_tokens or 0},
        "total_tokens": input_tokens + answered.output_tokens,
    }
