"""A Messages request, read from its body and checked as far as no model is concerned."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from tokenopt_pipeline.sandbox.anthropic_errors import invalid, model_unknown
from tokenopt_pipeline.sandbox.anthropic_models import AnthropicModel, model_named
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact, strings_in

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# The fields of the SDK's ToolParam; anthropic 2.12.0.
_TOOL_FIELDS = frozenset(
    {
        *("type", "name", "description", "input_schema", "cache_control", "strict", "input_examples"),
        *("allowed_callers", "defer_loading", "eager_input_streaming"),
    }
)

# Every top-level field the SDK's MessageCreateParams knows, and those recorded requests use; anthropic 2.12.0.
_FIELDS = frozenset(
    {
        *("model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "stream"),
        *("cache_control", "metadata", "service_tier", "diagnostics", "inference_geo", "stop_sequences", "speed"),
        *("temperature", "top_p", "top_k", "container", "context_management", "mcp_servers", "output_format"),
    }
)
_COUNTING_FIELDS = _FIELDS - {"max_tokens", "stream"}
_BLOCK_TYPES = frozenset(
    {
        *("text", "tool_use", "tool_result", "thinking", "redacted_thinking"),
        *("image", "document", "search_result", "tool_reference"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentBlock:
    """One block of a prompt, where it stands and what it is."""

    location: str
    """As error messages name it, such as `messages.0.content.1`."""
    role: str
    """`tool`, `system`, `user` or `assistant`."""
    value: JsonObject
    """The block without its `cache_control`."""
    ttl: str | None
    """`5m` or `1h` where a breakpoint stands."""

    @property
    def text(self) -> str:
        """What the model reads: a text block's text, a call's name and input; of other blocks every string inside."""
        text = self.value.get("text")
        if isinstance(text, str):
            return text
        if self.value.get("type") == "tool_use":
            return f"{self.value.get('name')}{compact(self.value.get('input'))}"
        return strings_in(self.value.get("content", self.value.get("thinking")))

    @property
    def message(self) -> int:
        """The index of the message it stands in."""
        return int(self.location.split(".")[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesRequest:
    """What the sandbox needs of a request, in render order."""

    model: AnthropicModel
    asked_model: str
    max_tokens: int
    stream: bool
    tools: tuple[ContentBlock, ...]
    system: tuple[ContentBlock, ...]
    messages: tuple[ContentBlock, ...]
    roles: tuple[str, ...]
    """Role of each message, in order."""
    tool_choice: str
    """`auto`, `any`, `tool` or `none`."""
    forced_tool: str | None
    several_calls: bool
    """Whether one answer may call more than one tool."""
    thinking: str | None
    effort: str | None
    format_schema: JsonObject | None
    automatic_ttl: str | None
    """Lifetime of the top-level `cache_control`, which marks the last block."""
    body: JsonObject

    @property
    def forces_tool(self) -> bool:
        """Whether the model has to call a tool."""
        return self.tool_choice in ("any", "tool")

    @property
    def blocks(self) -> tuple[ContentBlock, ...]:
        """The whole prompt: tools, then system, then messages."""
        return (*self.tools, *self.system, *self.messages)


def read_request(body: bytes, *, counting: bool) -> MessagesRequest:
    """The request in `body`. Raises RequestRefused."""
    fields = _fields(body, _COUNTING_FIELDS if counting else _FIELDS)
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if fields.get(name) is None:
            raise invalid(f"{name}: Field required")
    asked_model = fields["model"]
    if not isinstance(asked_model, str):
        raise invalid("model: Input should be a valid string")
    model = model_named(asked_model)
    if model is None:
        raise model_unknown(asked_model)
    messages, roles = _messages(fields["messages"])
    tool_choice = _typed(fields, "tool_choice", ("auto", "any", "tool", "none"))
    output_config = as_object(fields.get("output_config"))
    stream = fields.get("stream")
    return MessagesRequest(
        model=model,
        asked_model=asked_model,
        max_tokens=0 if counting else _max_tokens(fields["max_tokens"]),
        stream=stream is True,
        tools=_tools(fields.get("tools")),
        system=_content(fields.get("system"), "system", "system"),
        messages=messages,
        roles=roles,
        tool_choice="auto" if tool_choice is None else str(tool_choice["type"]),
        forced_tool=None if tool_choice is None or tool_choice["type"] != "tool" else str(tool_choice.get("name")),
        several_calls=tool_choice is None or tool_choice.get("disable_parallel_tool_use") is not True,
        thinking=_kind(_typed(fields, "thinking", ("adaptive", "between_tools", "disabled", "enabled"))),
        effort=None if output_config.get("effort") is None else str(output_config["effort"]),
        format_schema=_format_schema(output_config.get("format")),
        automatic_ttl=_ttl(fields.get("cache_control"), "cache_control"),
        body=fields,
    )


def _fields(body: bytes, known: frozenset[str]) -> JsonObject:
    try:
        fields: Json = json.loads(body)
    except ValueError as error:
        raise invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise invalid("Input should be a valid dictionary or object to extract fields from")
    for name in fields:
        if name not in known:
            raise invalid(f"{name}: Extra inputs are not permitted")
    return fields


def _max_tokens(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("max_tokens: Input should be a valid integer")
    if value < 0:
        raise invalid("max_tokens: must be greater than or equal to 0")
    return value


def _messages(value: Json) -> tuple[tuple[ContentBlock, ...], tuple[str, ...]]:
    if not isinstance(value, list):
        raise invalid("messages: Input should be a valid array")
    if not value:
        raise invalid("messages: at least one message is required")
    blocks: list[ContentBlock] = []
    roles = []
    for index, message in enumerate(value):
        role = as_object(message).get("role")
        if role not in ("user", "assistant"):
            raise invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        content = _content(as_object(message).get("content"), f"messages.{index}.content", str(role))
        if not content:
            raise invalid(f"messages.{index}: {role} messages must have non-empty content")
        roles.append(str(role))
        blocks.extend(content)
    return tuple(blocks), tuple(roles)


def _content(value: Json, location: str, role: str) -> tuple[ContentBlock, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        block: JsonObject = {"type": "text", "text": value}
        return (ContentBlock(location=location, role=role, value=block, ttl=None),) if value else ()
    if not isinstance(value, list):
        raise invalid(f"{location}: Input should be a valid string or array")
    blocks = []
    for index, entry in enumerate(value):
        where = f"{location}.{index}"
        kind = as_object(entry).get("type")
        if not isinstance(entry, dict) or kind not in _BLOCK_TYPES or (role == "system" and kind != "text"):
            raise invalid(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
        if kind == "text" and not isinstance(entry.get("text"), str):
            raise invalid(f"{where}.text: Field required")
        if kind == "text" and not entry["text"]:
            raise invalid(f"{location.partition('.')[0]}: text content blocks must be non-empty")
        blocks.append(_block(entry, where, role))
    return tuple(blocks)


def _tools(value: Json) -> tuple[ContentBlock, ...]:
    blocks = []
    names = set()
    for index, tool in enumerate(as_list(value)):
        where = f"tools.{index}"
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise invalid(f"{where}.custom.name: Field required")
        if tool.get("type", "custom") == "custom":
            if not isinstance(tool.get("input_schema"), dict):
                raise invalid(f"{where}.custom.input_schema: Field required")
            if as_object(tool["input_schema"]).get("type") != "object":
                raise invalid(f"{where}.custom.input_schema.type: Input should be 'object'")
            if not _TOOL_NAME.fullmatch(str(tool["name"])):
                raise invalid(f"{where}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
            for name in tool:
                if name not in _TOOL_FIELDS:
                    raise invalid(f"{where}.custom.{name}: Extra inputs are not permitted")
        if tool["name"] in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool["name"])
        blocks.append(_block(tool, where, "tool"))
    return tuple(blocks)


def _block(entry: JsonObject, location: str, role: str) -> ContentBlock:
    ttl = _ttl(entry.get("cache_control"), f"{location}.cache_control")
    value = {key: child for key, child in entry.items() if key != "cache_control"}
    return ContentBlock(location=location, role=role, value=value, ttl=ttl)


def _ttl(value: Json, location: str) -> str | None:
    if value is None:
        return None
    control = as_object(value)
    if control.get("type") != "ephemeral":
        raise invalid(f"{location}.type: Input should be 'ephemeral'")
    ttl = control.get("ttl") or "5m"
    if ttl not in ("5m", "1h"):
        raise invalid(f"{location}.ttl: Input should be '5m' or '1h'")
    return str(ttl)


def _typed(fields: JsonObject, name: str, kinds: tuple[str, ...]) -> JsonObject | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") not in kinds:
        found = as_object(value).get("type")
        expected = ", ".join(f"'{kind}'" for kind in kinds)
        raise invalid(
            f"{name}: Input tag '{found}' found using 'type' does not match any of the expected tags: {expected}"
        )
    return value


def _kind(value: JsonObject | None) -> str | None:
    return None if value is None else str(value["type"])


def _format_schema(value: Json) -> JsonObject | None:
    if value is None:
        return None
    output_format = as_object(value)
    if output_format.get("type") != "json_schema":
        raise invalid("output_config.format.type: Input should be 'json_schema'")
    schema = output_format.get("schema")
    if not isinstance(schema, dict):
        raise invalid("output_config.format.schema: Field required")
    return schema
