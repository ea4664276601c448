"""A Chat Completions request, read from its body as a server of the configured capability reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tokenopt_pipeline.sandbox import chat_errors as errors
from tokenopt_pipeline.sandbox.chat_config import Capability, CustomServer
from tokenopt_pipeline.sandbox.chat_turns import calls_text, read_offer
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact, strings_in
from tokenopt_pipeline.sandbox.pack import asked_in
from tokenopt_pipeline.sandbox.replay import is_replay
from tokenopt_pipeline.sandbox.tokens import tokens_of_chars
from tokenopt_pipeline.sandbox.tool_calls import Offer

# What such servers have in common; the limit's names are configured.
_FIELDS = frozenset(
    {
        *("model", "messages", "response_format", "stream", "stream_options", "temperature", "top_p", "stop", "seed"),
        *(
            "n",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "user",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
        ),
    }
)
_ROLES = ("system", "developer", "user", "assistant", "tool")
_FORMATS = ("text", "json_object", "json_schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What the sandbox needs of a request."""

    model: str
    messages: tuple[ChatMessage, ...]
    format_kind: str
    """`text`, `json_object` or `json_schema`."""
    schema: JsonObject | None
    max_tokens: int
    prompt_tokens: int
    offer: Offer
    """What the model may do with tools."""

    @property
    def system(self) -> str:
        """What the instructions say."""
        return "\n".join(message.text for message in self.messages if message.role in ("system", "developer"))

    @property
    def prompt(self) -> str:
        """What the user asks."""
        return asked_in([message.text for message in self.messages if message.role == "user"])


def read_request(body: bytes, server: CustomServer) -> ChatRequest:
    """The request in `body`. Raises ChatRefused."""
    fields = _fields(body, server)
    model = fields.get("model")
    if model not in server.models and not is_replay(str(model)):
        raise errors.model_unknown(server, str(model))
    if fields.get("stream") is True:
        raise errors.invalid(server, "This server does not stream.", "stream")
    messages = _messages(fields.get("messages"), server)
    kind, schema = _response_format(fields.get("response_format"), server)
    chars = sum(len(message.text) for message in messages) + (0 if schema is None else len(compact(schema)))
    chars += sum(len(compact(tool)) for tool in as_list(fields.get("tools")))
    offer = read_offer(fields, server)
    prompt_tokens = tokens_of_chars(chars)
    return ChatRequest(
        model=str(model),
        messages=messages,
        format_kind=kind,
        schema=schema,
        max_tokens=_max_tokens(fields, server, prompt_tokens),
        prompt_tokens=prompt_tokens,
        offer=offer,
    )


def _fields(body: bytes, server: CustomServer) -> JsonObject:
    try:
        fields: Json = json.loads(body)
    except ValueError as error:
        raise errors.invalid(server, f"The request body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise errors.invalid(server, "The request body must be a JSON object.")
    if server.strict:
        unknown = sorted(set(fields) - _FIELDS - set(server.limit_fields))
        if unknown:
            raise errors.invalid(server, f"Extra inputs are not permitted: {', '.join(unknown)}", unknown[0])
    return fields


def _messages(value: Json, server: CustomServer) -> tuple[ChatMessage, ...]:
    messages = []
    for index, message in enumerate(as_list(value)):
        role = as_object(message).get("role")
        if role not in _ROLES:
            raise errors.invalid(server, f"messages[{index}].role: unknown role {role!r}", f"messages[{index}].role")
        content = as_object(message).get("content")
        if isinstance(content, list):
            text = "\n".join(strings_in(as_object(part).get("text")) for part in content)
        else:
            text = content if isinstance(content, str) else ""
        messages.append(ChatMessage(role=str(role), text=text + calls_text(as_object(message))))
    if not messages:
        raise errors.invalid(server, "messages: at least one message is required", "messages")
    return tuple(messages)


def _response_format(value: Json, server: CustomServer) -> tuple[str, JsonObject | None]:
    if value is None:
        return "text", None
    kind = as_object(value).get("type")
    if kind not in _FORMATS:
        raise errors.invalid(server, f"response_format.type: unknown type {kind!r}", "response_format")
    known = {
        Capability.JSON_SCHEMA: _FORMATS,
        Capability.JSON_OBJECT: ("text", "json_object"),
        Capability.PROMPT_ONLY: ("text",),
    }[server.capability]
    if kind not in known:
        raise errors.invalid(
            server, f"response_format type '{kind}' is not supported by this server", "response_format"
        )
    if kind != "json_schema":
        return str(kind), None
    schema = as_object(as_object(value).get("json_schema")).get("schema")
    if not isinstance(schema, dict):
        raise errors.invalid(server, "response_format.json_schema.schema: field required", "response_format")
    return "json_schema", schema


def _max_tokens(fields: JsonObject, server: CustomServer, prompt_tokens: int) -> int:
    asked = [fields[name] for name in server.limit_fields if fields.get(name) is not None]
    for value in asked:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise errors.invalid(server, f"max_tokens must be at least 1, got {value!r}.", "max_tokens")
    limits = [value for value in asked if isinstance(value, int)]
    # Without a limit the answer may fill what the prompt leaves.
    limit = min(limits) if limits else max(1, server.context_tokens - prompt_tokens)
    if prompt_tokens + limit > server.context_tokens:
        raise errors.context_exceeded(server, prompt_tokens, limit)
    return limit
