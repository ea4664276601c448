"""Turns with functions in generateContent: what may be called, and whether what was said has come back as it was.

The words about names, counts, order and missing signatures are quoted in public issues. What a signature covers nobody documents:
here the caller's key and the call it stands beside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache

import jsonschema_rs

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.google_models import GeminiModel
from tokenopt_pipeline.sandbox.google_schema import from_openapi
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact
from tokenopt_pipeline.sandbox.reply import ToolUse
from tokenopt_pipeline.sandbox.seals import digest_of, sealed, seals
from tokenopt_pipeline.sandbox.tool_calls import Offer, OfferedTool

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
_PURPOSE = "google thought"
# https://ai.google.dev/gemini-api/docs/thought-signatures: taken for conversations that another model began.
_UNCHECKED = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_COUNTS_DIFFER = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the function"
    " call turn."
)


def read_offer(fields: JsonObject, model: GeminiModel, *, json_mode: bool) -> Offer:
    """What the model may call. Raises GoogleRefused."""
    tools = _tools(fields)
    config = as_object(as_object(fields.get("toolConfig")).get("functionCallingConfig"))
    mode, allowed = str(config.get("mode") or "AUTO").upper(), as_list(config.get("allowedFunctionNames"))
    if mode not in _MODES:
        raise errors.invalid(
            "Invalid value at 'tool_config.function_calling_config.mode'"
            f' (type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionCallingConfig.Mode), "{mode}"'
        )
    if config and not tools:
        raise errors.invalid("Function calling config is set without function_declarations.")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise errors.invalid("Please set allowed_function_names only when function calling mode is ANY.")
    unknown = [name for name in allowed if name not in [tool.name for tool in tools]]
    if unknown:
        raise errors.invalid(f"allowed_function_names contains {unknown[0]}, which is not among function_declarations.")
    if tools and json_mode and not model.joins_tools_and_schema:
        raise errors.invalid("Function calling with a response mime type: 'application/json' is unsupported")
    return Offer(
        tools=() if mode == "NONE" else tuple(tool for tool in tools if not allowed or tool.name in allowed),
        must_call=mode == "ANY",
        is_forced=mode == "ANY" and len(allowed) == 1,
        rounds=sum(bool(_parts_with(content, "functionCall")) for content in _contents(fields)),
    )


def call_parts(uses: Sequence[ToolUse], *, response_id: str, key: str, model: GeminiModel, thinks: bool) -> list[Json]:
    """The parts of a reply that calls `uses`: the first one is signed."""
    parts: list[Json] = []
    for index, use in enumerate(uses):
        nonce = digest_of("call", response_id, index)
        call: JsonObject = {"name": use.name, "args": use.arguments}
        if model.joins_tools_and_schema:
            call = {"id": nonce[:8], **call}
        part: JsonObject = {"functionCall": call}
        if index == 0 and (thinks or model.needs_signatures):
            part["thoughtSignature"] = sealed(_PURPOSE, nonce[:32], key, _canonical(call))
        parts.append(part)
    return parts


def part_text(part: JsonObject) -> str | None:
    """What the model reads of a call or of a function's response; None for other parts."""
    for kind, member in (("functionCall", "args"), ("functionResponse", "response")):
        if kind in part:
            said = as_object(part[kind])
            return f"{said.get('name')}{compact(said.get(member))}"
    return None


def check_turns(fields: JsonObject, model: GeminiModel, key: str) -> None:
    """Raises GoogleRefused for the first turn that is not what the model said, or does not answer its calls."""
    contents = _contents(fields)
    called: list[JsonObject] = []
    for index, content in enumerate(contents):
        responses = _parts_with(content, "functionResponse")
        _check_responses(responses, called, index)
        calls = _parts_with(content, "functionCall")
        if calls and (content.get("role") != "model" or index == 0 or contents[index - 1].get("role") == "model"):
            raise errors.invalid(
                "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
            )
        called = [as_object(part["functionCall"]) for part in calls]
        for part in calls:
            _check_signature(part, key)
    if called:
        raise errors.invalid(_COUNTS_DIFFER)
    if model.needs_signatures:
        _check_signed(contents)


def _contents(fields: JsonObject) -> list[JsonObject]:
    return [as_object(content) for content in as_list(fields.get("contents"))]


def _parts_with(content: JsonObject, member: str) -> list[JsonObject]:
    return [part for part in map(as_object, as_list(content.get("parts"))) if member in part]


def _tools(fields: JsonObject) -> list[OfferedTool]:
    tools: list[OfferedTool] = []
    for place, tool in enumerate(as_list(fields.get("tools"))):
        for index, entry in enumerate(as_list(as_object(tool).get("functionDeclarations"))):
            declared = as_object(entry)
            name, where = str(declared.get("name") or ""), f"tools[{place}].function_declarations[{index}]"
            if not _NAME.fullmatch(name):
                raise errors.invalid(
                    f"The GenerateContentRequest proto is invalid:\n  * {where}.name: [FIELD_INVALID] Invalid function name."
                    " Must start with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores (_), dots (.),"
                    " colons (:), or dashes (-), with a maximum length of 128."
                )
            if name in [other.name for other in tools]:
                raise errors.invalid(f"Duplicate function declaration found: {name}")
            tools.append(OfferedTool(name=name, schema=_schema(declared, where)))
    return tools


def _schema(declared: JsonObject, where: str) -> JsonObject:
    openapi, schema = declared.get("parameters"), declared.get("parametersJsonSchema")
    if openapi is not None and schema is not None:
        raise errors.invalid(f"{where}: only one of parameters and parameters_json_schema may be set.")
    if openapi is not None:
        return from_openapi(as_object(openapi))
    if schema is not None and not (isinstance(schema, dict) and _is_schema(compact(schema))):
        raise errors.invalid(f"{where}.parameters_json_schema is not a valid JSON Schema.")
    return as_object(schema)


@lru_cache(maxsize=256)
def _is_schema(schema: str) -> bool:
    """Remembered, because every pack of a run declares the same."""
    return jsonschema_rs.meta.is_valid(json.loads(schema))


def _check_responses(responses: list[JsonObject], called: list[JsonObject], index: int) -> None:
    """`responses` of one content against the calls of the content before it."""
    if responses and not called:
        raise errors.invalid("Please ensure that function response turn comes immediately after a function call turn.")
    if len(responses) != len(called):
        raise errors.invalid(_COUNTS_DIFFER)
    waiting = list(called)
    for place, part in enumerate(responses):
        response = as_object(part["functionResponse"])
        name, identifier = response.get("name"), response.get("id")
        where = f"contents[{index}].parts[{place}].function_response"
        if not name:
            raise errors.invalid(f"* GenerateContentRequest.{where}.name: Name cannot be empty.\n")
        if not isinstance(response.get("response"), dict):
            raise errors.invalid(f"* GenerateContentRequest.{where}.response: response is not specified\n")
        meant = next(
            (call for call in waiting if call.get("name") == name and identifier in (None, call.get("id"))), None
        )
        if meant is None:
            raise errors.invalid(
                f"* GenerateContentRequest.{where}: no function call of the turn before is called {name} with this id.\n"
            )
        waiting.remove(meant)


def _check_signature(part: JsonObject, key: str) -> None:
    signature = part.get("thoughtSignature")
    if signature is None or signature in _UNCHECKED:
        return
    if not seals(str(signature), _PURPOSE, key, _canonical(part["functionCall"])):
        raise errors.invalid("Corrupted thought signature.")


def _canonical(call: Json) -> str:
    """The call, whatever the order of its members: the API reads messages, not bytes."""
    return json.dumps(call, sort_keys=True)


def _check_signed(contents: list[JsonObject]) -> None:
    """The first call of each step since the user last spoke has to be signed."""
    spoke = [
        index
        for index, content in enumerate(contents)
        if content.get("role", "user") == "user" and not _parts_with(content, "functionResponse")
    ]
    for index, content in enumerate(contents):
        calls = _parts_with(content, "functionCall")
        if calls and (not spoke or index > spoke[-1]) and not calls[0].get("thoughtSignature"):
            name = as_object(calls[0]["functionCall"]).get("name")
            raise errors.invalid(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work"
                " correctly, and missing thought_signature may lead to degraded model performance. Additional data, function"
                f" call `default_api:{name}` , position {index + 1}. Please refer to"
                " https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )
