"""Turns with tools in the Responses API: what may be called, and whether what was said has come back as it was.

The words of refusals about calls, outputs and reasoning are quoted in public issues; one is recorded. That an item of ours without
its reasoning is refused also where nothing is stored is stricter than what is documented.
"""

from __future__ import annotations

import re

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact
from tokenopt_pipeline.sandbox.openai_request import ResponsesRequest
from tokenopt_pipeline.sandbox.openai_schema import strict_refusal
from tokenopt_pipeline.sandbox.seals import digest_of, says, sealed, seals, tagged
from tokenopt_pipeline.sandbox.tool_calls import Offer, OfferedTool

_PATTERN = "^[a-zA-Z0-9_-]+$"
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_NAME_CHARS = 64
_CHOICES = ("none", "auto", "required")
_PURPOSE = "openai reasoning"
_CIPHER = "gAAAAAB"
_SEED_CHARS = 38
_STORED, _REASONED, _REASONED_STORED = "stored", "reasoned", "reasoned, stored"
_INCLUDED = "reasoning.encrypted_content"


def offer_of(request: ResponsesRequest) -> Offer:
    """What the model may call."""
    choice = request.body.get("tool_choice") or "auto"
    names = [str(tool["name"]) for tool in _functions(request)]
    kind, must_call, is_forced = "function", choice == "required", False
    if isinstance(choice, dict):
        kind = str(choice.get("type"))
        is_forced = must_call = kind == "function"
        if is_forced:
            names = [str(choice.get("name"))]
        elif kind == "allowed_tools":
            names = [str(as_object(tool).get("name")) for tool in as_list(choice.get("tools"))]
            must_call = choice.get("mode") == "required"
    return Offer(
        tools=()
        if choice == "none"
        else tuple(
            OfferedTool(name=str(tool["name"]), schema=as_object(tool.get("parameters")))
            for tool in _functions(request)
            if tool["name"] in names
        ),
        must_call=must_call,
        is_forced=is_forced,
        several=request.body.get("parallel_tool_calls") is not False,
        rounds=_rounds(request),
    )


def item_id(kind: str, response_id: str, index: int = 0, *, reasons: bool, stored: bool) -> str:
    """The identifier of a response's `rs`, `msg` or `fc` item; it tells the sandbox what the item came with."""
    head = f"{kind}_{digest_of('items', response_id)[:_SEED_CHARS]}"
    if kind == "rs":
        return tagged(head, _STORED if stored else "")
    return tagged(f"{head}{index:04x}", (_REASONED_STORED if stored else _REASONED) if reasons else "")


def encrypted_reasoning(request: ResponsesRequest, key: str, reasoning_id: str) -> str | None:
    """The reasoning to be passed back; None when the request asks for none."""
    if _INCLUDED not in as_list(request.body.get("include")):
        return None
    return _CIPHER + sealed(_PURPOSE, digest_of("nonce", reasoning_id)[:32], [key, reasoning_id])


def check_tools(request: ResponsesRequest) -> None:
    """Raises OpenAIRefused for the first declaration or choice that is refused."""
    for index, tool in enumerate(request.tools):
        if tool.get("type") is None:
            raise errors.missing(f"tools[{index}].type")
        if tool["type"] == "function":
            _check_function(tool, f"tools[{index}]")
    _check_choice(request)


def check_turns(request: ResponsesRequest, key: str) -> None:
    """Raises OpenAIRefused for the first item that is not what the model said, or does not answer its calls."""
    items = [as_object(item) for item in as_list(request.body.get("input"))]
    called = {str(item.get("call_id")) for item in items if item.get("type") == "function_call"}
    answered = {str(item.get("call_id")) for item in items if item.get("type") == "function_call_output"}
    for index, item in enumerate(items):
        where = f"input[{index}]"
        match item.get("type"):
            case "function_call":
                _check_strings(item, ("call_id", "name", "arguments"), where)
                _check_reasoned(item, items[:index])
                if item["call_id"] not in answered:
                    raise errors.invalid(f"No tool output found for function call {item['call_id']}.", param="input")
            case "function_call_output":
                _check_strings(item, ("call_id",), where)
                if not isinstance(item.get("output"), str | list):
                    raise errors.missing(f"{where}.output")
                earlier = [other.get("call_id") for other in items[:index] if other.get("type") == "function_call"]
                if item["call_id"] not in called or item["call_id"] not in earlier:
                    raise errors.invalid(
                        f"No tool call found for function call output with call_id {item['call_id']}.", param="input"
                    )
            case "reasoning":
                _check_reasoning(item, items[index + 1 :], request, key)
            case "message" | None if item.get("role") == "assistant":
                _check_reasoned(item, items[:index])


def _functions(request: ResponsesRequest) -> list[JsonObject]:
    return [tool for tool in request.tools if tool.get("type") == "function"]


def _rounds(request: ResponsesRequest) -> int:
    """Runs of calls that nothing but calls and reasoning interrupts."""
    rounds, calls = 0, False
    for item in map(as_object, as_list(request.body.get("input"))):
        is_call = item.get("type") == "function_call"
        rounds += is_call and not calls
        calls = is_call or (calls and item.get("type") == "reasoning")
    return rounds


def _check_function(tool: JsonObject, where: str) -> None:
    name, parameters = tool.get("name"), tool.get("parameters")
    if not isinstance(name, str):
        raise errors.missing(f"{where}.name")
    check_name(name, f"{where}.name")
    if parameters is None:
        return
    schema = as_object(parameters)
    refusal = strict_refusal(compact(schema)) if tool.get("strict") is True else None
    if schema.get("type") != "object":
        refusal = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {compact(schema.get('type'))}'."
    if refusal is not None:
        raise errors.invalid(
            f"Invalid schema for function '{name}': {refusal}",
            param=f"{where}.parameters",
            code="invalid_function_parameters",
        )


def check_name(name: str, param: str) -> None:
    """Raises OpenAIRefused for a function's name that is none."""
    if not _NAME.fullmatch(name):
        raise errors.invalid(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '{_PATTERN}'.",
            param=param,
            code="invalid_value",
        )
    if len(name) > _MOST_NAME_CHARS:
        raise errors.invalid(
            f"Invalid '{param}': string too long. Expected a string with maximum length {_MOST_NAME_CHARS}, but got a string"
            f" with length {len(name)} instead.",
            param=param,
            code="string_above_max_length",
        )


def _check_choice(request: ResponsesRequest) -> None:
    choice = request.body.get("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise errors.not_among("tool_choice", choice, _CHOICES)
        if choice == "required" and not request.tools:
            raise errors.invalid(
                "Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice"
            )
        return
    names = [tool["name"] for tool in _functions(request)]
    chosen = as_object(choice)
    wanted: list[Json] = [chosen] if chosen.get("type") == "function" else []
    if chosen.get("type") == "allowed_tools":
        wanted = as_list(chosen.get("tools"))
    for tool in map(as_object, wanted):
        if tool.get("type") == "function" and tool.get("name") not in names:
            raise errors.invalid(
                f"Tool choice '{tool.get('name')}' not found in 'tools' parameter.", param="tool_choice"
            )


def _check_strings(item: JsonObject, names: tuple[str, ...], where: str) -> None:
    for name in names:
        if item.get(name) is None:
            raise errors.missing(f"{where}.{name}")
        if not isinstance(item[name], str):
            raise errors.wrong_type(f"{where}.{name}", "a string")


def _check_reasoned(item: JsonObject, before: list[JsonObject]) -> None:
    """Whether an item of ours that followed reasoning still does."""
    identifier = str(item.get("id"))
    stored = says(identifier, _REASONED_STORED)
    if not stored and not says(identifier, _REASONED):
        return
    kind, _, rest = identifier.partition("_")
    reasoning = tagged(f"rs_{rest[:_SEED_CHARS]}", _STORED if stored else "")
    if all(other.get("id") != reasoning for other in before):
        name = "function_call" if kind == "fc" else "message"
        raise errors.invalid(
            f"Item '{identifier}' of type '{name}' was provided without its required 'reasoning' item: '{reasoning}'.",
            param="input",
        )


def _check_reasoning(item: JsonObject, after: list[JsonObject], request: ResponsesRequest, key: str) -> None:
    identifier, content = str(item.get("id")), item.get("encrypted_content")
    if isinstance(content, str):
        if not seals(content.removeprefix(_CIPHER), _PURPOSE, [key, identifier]):
            raise errors.invalid(
                f"The encrypted content for item {identifier} could not be verified. Reason: Encrypted content could not be"
                " decrypted or parsed.",
                code="invalid_encrypted_content",
            )
    elif request.body.get("store") is False or not says(identifier, _STORED):
        raise errors.not_stored(identifier)
    following = next((other for other in after if other.get("type") != "reasoning"), {})
    if following.get("type") != "function_call" and following.get("role") != "assistant":
        raise errors.invalid(
            f"Item '{identifier}' of type 'reasoning' was provided without its required following item.", param="input"
        )
