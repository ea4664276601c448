"""A Responses request, read from its body and checked as far as no schema and no cache rule is concerned."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact, strings_in
from tokenopt_pipeline.sandbox.openai_models import EFFORTS, OpenAIModel, model_named
from tokenopt_pipeline.sandbox.pack import asked_in

MIN_OUTPUT_TOKENS = 16

# Every top-level field the SDK's ResponseCreateParams and InputTokenCountParams know; openai 3.54.0.
_COUNTING_FIELDS = frozenset(
    {
        *(
            "model",
            "input",
            "instructions",
            "conversation",
            "parallel_tool_calls",
            "personality",
            "previous_response_id",
        ),
        *("reasoning", "text", "tool_choice", "tools", "truncation"),
    }
)
_FIELDS = (_COUNTING_FIELDS - {"personality"}) | {
    *("access_programs", "background", "background_options", "context_management", "image", "include"),
    *("max_output_tokens", "max_tool_calls", "metadata", "moderation", "prompt", "prompt_cache_key"),
    *("prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "stream"),
    *("stream_options", "temperature", "top_logprobs", "top_p", "user"),
}
_ROLES = ("user", "assistant", "system", "developer")
_TEXT_PARTS = ("input_text", "output_text", "refusal")
_OTHER_PARTS = ("input_image", "input_file", "input_audio")
_ITEM_TYPES = ("message", "reasoning", "function_call", "function_call_output", "item_reference", "compaction")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPart:
    """One content part of the input, or one item without parts."""

    location: str
    """As error messages name it, such as `input[0].content[1]`."""
    role: str
    """The message's role; another item's type."""
    text: str
    ends_item: bool
    marked: bool = False
    """Whether an explicit breakpoint stands here."""
    ttl: str | None = None
    """The breakpoint's own lifetime, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesRequest:
    """What the sandbox needs of a request, in the order the model reads it."""

    model: OpenAIModel
    asked_model: str
    max_output_tokens: int | None
    stream: bool
    instructions: str
    input: tuple[InputPart, ...]
    format_kind: str
    """`text`, `json_object` or `json_schema`."""
    format_name: str | None
    format_schema: JsonObject | None
    strict: bool
    effort: str
    verbosity: str
    tools: tuple[JsonObject, ...]
    cache_mode: str
    """`implicit` or `explicit`."""
    cache_ttl: str
    """`30m` or `12h`."""
    prewarm: bool
    body: JsonObject

    @property
    def thinks(self) -> bool:
        """Whether the answer begins with a reasoning item."""
        return self.effort != "none"


def read_request(body: bytes, *, counting: bool) -> ResponsesRequest:
    """The request in `body`. Raises OpenAIRefused."""
    fields = _fields(body, _COUNTING_FIELDS if counting else _FIELDS)
    asked_model = fields.get("model")
    if asked_model is None:
        raise errors.missing("model")
    if not isinstance(asked_model, str):
        raise errors.wrong_type("model", "a string")
    model = model_named(asked_model)
    if model is None:
        raise errors.model_unknown(asked_model)
    if fields.get("input") is None:
        raise errors.missing("input")
    _refuse_what_needs_memory(fields)
    text = as_object(fields.get("text"))
    form = as_object(text.get("format"))
    cache = as_object(fields.get("prompt_cache_options"))
    return ResponsesRequest(
        model=model,
        asked_model=asked_model,
        max_output_tokens=_max_output_tokens(fields.get("max_output_tokens"), model),
        stream=fields.get("stream") is True,
        instructions=str(fields.get("instructions") or ""),
        input=_input(fields["input"]),
        format_kind=_one_of(form, "type", "text.format.type", ("text", "json_object", "json_schema"), "text"),
        format_name=_format_name(form),
        format_schema=_format_schema(form),
        strict=form.get("strict") is True,
        effort=_one_of(as_object(fields.get("reasoning")), "effort", "reasoning.effort", EFFORTS, model.default_effort),
        verbosity=_one_of(text, "verbosity", "text.verbosity", ("low", "medium", "high"), "medium"),
        tools=tuple(as_object(tool) for tool in as_list(fields.get("tools"))),
        cache_mode=_one_of(cache, "mode", "prompt_cache_options.mode", ("implicit", "explicit"), "implicit"),
        cache_ttl=_one_of(cache, "ttl", "prompt_cache_options.ttl", ("30m", "12h"), "30m"),
        prewarm=cache.get("prewarm") is True,
        body=fields,
    )


def question_text(request: ResponsesRequest) -> tuple[str, str]:
    """The text of the instructions and developer messages, and what the user asks."""
    system = [request.instructions, *(part.text for part in request.input if part.role in ("developer", "system"))]
    said: list[list[str]] = []
    ended = True
    for part in request.input:
        if part.role == "user":
            if ended:
                said.append([])
            said[-1].append(part.text)
            ended = part.ends_item
    return "\n".join(text for text in system if text), asked_in(["\n".join(texts) for texts in said])


def tool_text(request: ResponsesRequest) -> str:
    """The tools as the model reads them."""
    return "".join(compact(tool) for tool in request.tools)


def schema_text(request: ResponsesRequest) -> str:
    """The output schema as the model reads it."""
    return "" if request.format_schema is None else compact(request.format_schema)


def _fields(body: bytes, known: frozenset[str]) -> JsonObject:
    try:
        fields: Json = json.loads(body)
    except ValueError:
        raise errors.invalid(
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload."
        ) from None
    if not isinstance(fields, dict):
        raise errors.invalid("The request body must be a JSON object.")
    for name in fields:
        if name not in known:
            raise errors.unknown_field(name)
    return fields


def _refuse_what_needs_memory(fields: JsonObject) -> None:
    if fields.get("previous_response_id") is not None:
        raise errors.invalid(
            f"Previous response with id '{fields['previous_response_id']}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    for name in ("background", "conversation", "prompt"):
        if fields.get(name):
            raise errors.invalid(f"The sandbox does not serve '{name}'.", param=name, code="unsupported_parameter")


def _max_output_tokens(value: Json, model: OpenAIModel) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.wrong_type("max_output_tokens", "an integer")
    if value < MIN_OUTPUT_TOKENS:
        raise errors.too_small("max_output_tokens", MIN_OUTPUT_TOKENS, value)
    if value > model.max_output_tokens:
        raise errors.invalid(
            f"max_output_tokens is too large: {value}. This model supports at most {model.max_output_tokens} output tokens,"
            f" whereas you provided {value}.",
            param="max_output_tokens",
            code="integer_above_max_value",
        )
    return value


def _input(value: Json) -> tuple[InputPart, ...]:
    if isinstance(value, str):
        return (InputPart(location="input", role="user", text=value, ends_item=True),)
    if not isinstance(value, list):
        raise errors.wrong_type("input", "a string or an array")
    if not value:
        raise errors.invalid(
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="input",
            code="empty_array",
        )
    parts: list[InputPart] = []
    for index, item in enumerate(value):
        parts.extend(_item(item, f"input[{index}]"))
    return tuple(parts)


def _item(item: Json, location: str) -> list[InputPart]:
    if not isinstance(item, dict):
        raise errors.wrong_type(location, "an object")
    kind = item.get("type", "message")
    if kind not in _ITEM_TYPES:
        raise errors.not_among(f"{location}.type", str(kind), _ITEM_TYPES)
    if kind == "function_call_output" and isinstance(item.get("output"), list) and item["output"]:
        return _parts(item["output"], f"{location}.output", str(kind))
    if kind != "message":
        return [InputPart(location=location, role=str(kind), text=_item_text(item), ends_item=True)]
    role = item.get("role")
    if role not in _ROLES:
        raise errors.not_among(f"{location}.role", str(role), _ROLES)
    content = item.get("content")
    if isinstance(content, str):
        return [InputPart(location=location, role=str(role), text=content, ends_item=True)]
    if not isinstance(content, list) or not content:
        raise errors.wrong_type(f"{location}.content", "a string or an array with content")
    return _parts(content, f"{location}.content", str(role))


def _item_text(item: JsonObject) -> str:
    if item.get("type") == "function_call":
        return f"{item.get('name')}{item.get('arguments')}"
    return strings_in(item.get("output") or item.get("summary"))


def _parts(content: Json, location: str, role: str) -> list[InputPart]:
    parts = as_list(content)
    return [
        _part(part, f"{location}[{index}]", role, ends_item=index == len(parts) - 1) for index, part in enumerate(parts)
    ]


def _part(part: Json, location: str, role: str, *, ends_item: bool) -> InputPart:
    fields = as_object(part)
    kind = fields.get("type")
    if kind not in (*_TEXT_PARTS, *_OTHER_PARTS):
        raise errors.not_among(f"{location}.type", str(kind), (*_TEXT_PARTS, *_OTHER_PARTS))
    text = fields.get("refusal") if kind == "refusal" else fields.get("text")
    if kind in _TEXT_PARTS and not isinstance(text, str):
        raise errors.missing(f"{location}.text")
    mark = fields.get("prompt_cache_breakpoint")
    if mark is not None and as_object(mark).get("mode") != "explicit":
        raise errors.not_among(
            f"{location}.prompt_cache_breakpoint.mode", str(as_object(mark).get("mode")), ("explicit",)
        )
    ttl = as_object(mark).get("ttl")
    if ttl is not None and ttl not in ("30m", "12h"):
        raise errors.not_among(f"{location}.prompt_cache_breakpoint.ttl", str(ttl), ("30m", "12h"))
    return InputPart(
        location=location,
        role=role,
        text=text if isinstance(text, str) else "",
        ends_item=ends_item,
        marked=mark is not None,
        ttl=None if ttl is None else str(ttl),
    )


def _one_of(fields: JsonObject, key: str, param: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(key)
    if value is None:
        return default
    if value not in allowed:
        raise errors.not_among(param, str(value), allowed)
    return str(value)


def _format_name(form: JsonObject) -> str | None:
    if form.get("type") != "json_schema":
        return None
    name = form.get("name")
    if not isinstance(name, str):
        raise errors.missing("text.format.name")
    if not _NAME.fullmatch(name):
        raise errors.invalid(
            f"Invalid 'text.format.name': string does not match pattern. Expected a string that matches the pattern"
            f" '^[a-zA-Z0-9_-]+$', up to 64 characters, but got '{name}'.",
            param="text.format.name",
            code="invalid_value",
        )
    return name


def _format_schema(form: JsonObject) -> JsonObject | None:
    if form.get("type") != "json_schema":
        return None
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise errors.missing("text.format.schema")
    return schema
