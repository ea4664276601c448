"""Tools with Google's Gemini API: what is sent, what is passed back, what is read."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.requests import ModelRequest, StopReason, Turn
from tokenopt_pipeline.domain.tools import ToolCall, ToolResult
from tokenopt_pipeline_tests.adapters.provider_exchange import Exchange, a_body, a_request_to, answering, error_of
from tokenopt_pipeline_tests.factories import a_tool

_NAME = a_tool().wire_name
# Standard base64, which the SDK's own types would rewrite.
_SIGNATURE = "Er0CCroCAQw51sdA+E0ygIgeJHfFC9LHB7POgkxY+Qf/=="


def a_part(call_id: str | None = "f1", args: Any = None, **members: Any) -> dict[str, Any]:
    call: dict[str, Any] = {"name": _NAME, "args": {"query": "commas"} if args is None else args}
    return {"functionCall": call if call_id is None else {"id": call_id, **call}, **members}


def waiting(*parts: dict[str, Any], role: str | None = "model", finish: str = "STOP") -> Exchange:
    content = {"parts": list(parts), **({} if role is None else {"role": role})}
    candidate = {"content": content, "finishReason": finish, "finishMessage": "Model generated function call(s)."}
    return answering("google", body={**a_body("google"), "candidates": [candidate]})


def a_tools_request(**changes: Any) -> ModelRequest:
    return a_request_to("google", **{"tools": (a_tool(),), **changes})


def test_tools_are_declared_in_json_schema_beside_the_output_schema() -> None:
    exchange = answering("google")
    exchange.complete(a_tools_request())
    declaration = {
        "name": _NAME,
        "description": "Finds rules.",
        "parameters_json_schema": a_tool().input_schema,
    }
    assert exchange.body["tools"] == [{"functionDeclarations": [declaration]}]
    assert exchange.body["generationConfig"]["responseMimeType"] == "application/json"
    assert "toolConfig" not in exchange.body
    assert len(exchange.sent) == 1


def test_calls_side_by_side_are_read_and_the_answer_goes_back_signatures_and_unknown_members_included() -> None:
    parts = [
        {"text": "Hm.", "thought": True},
        a_part("f1", thoughtSignature=_SIGNATURE, memberOfNextYear={"x": 1}),
        a_part("f2", {"query": "dashes"}),
    ]
    response = waiting(*parts).complete(a_tools_request())
    assert (response.stop, response.text) == (StopReason.TOOLS, "")
    assert response.tool_calls == (
        ToolCall(call_id="f1", name=_NAME, arguments={"query": "commas"}),
        ToolCall(call_id="f2", name=_NAME, arguments={"query": "dashes"}),
    )
    turn = Turn(
        carry=response.carry or "",
        results=(ToolResult(call_id="f1", text="one"), ToolResult(call_id="f2", text="no", is_error=True)),
        note="Answer now.",
    )
    exchange = answering("google")
    exchange.complete(a_tools_request(turns=(turn,)))
    assert exchange.body["contents"] == [
        {"role": "user", "parts": [{"text": "<blocks>"}]},
        {"role": "model", "parts": parts},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "f1", "name": _NAME, "response": {"output": "one"}}},
                {"functionResponse": {"id": "f2", "name": _NAME, "response": {"error": "no"}}},
                {"text": "Answer now."},
            ],
        },
    ]


def test_calls_without_ids_are_known_by_their_place() -> None:
    response = waiting(a_part(None), a_part(None, {"query": "dashes"}), role=None).complete(a_tools_request())
    assert [call.call_id for call in response.tool_calls] == ["call-0", "call-1"]
    results = tuple(ToolResult(call_id=f"call-{i}", text=f"r{i}") for i in (0, 1))
    exchange = answering("google")
    exchange.complete(a_tools_request(turns=(Turn(carry=response.carry or "", results=results),)))
    _, said, told = exchange.body["contents"]
    assert said["role"] == "model"
    assert [part["functionResponse"] for part in told["parts"]] == [
        {"name": _NAME, "response": {"output": "r0"}},
        {"name": _NAME, "response": {"output": "r1"}},
    ]


def test_tools_stay_declared_and_are_switched_off_for_the_last_answer() -> None:
    exchange = answering("google")
    exchange.complete(a_tools_request(answer_now=True))
    assert exchange.body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert exchange.body["tools"]


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemma-4"])
def test_an_older_model_is_bound_to_the_schema_only_when_it_has_no_tools_any_more(model: str) -> None:
    exchange = answering("google")
    exchange.complete(a_tools_request(model=model))
    assert exchange.body["generationConfig"] == {"maxOutputTokens": 512}
    assert exchange.body["tools"]
    exchange.complete(a_tools_request(model=model, answer_now=True))
    assert exchange.body["generationConfig"]["responseMimeType"] == "application/json"
    assert not {"tools", "toolConfig"} & set(exchange.body)


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SAFETY"])
def test_the_calls_of_a_cut_or_refused_answer_are_not_made(finish: str) -> None:
    response = waiting(a_part(), finish=finish).complete(a_tools_request())
    assert response.tool_calls == ()
    assert response.stop in (StopReason.TRUNCATED, StopReason.REFUSED)


def test_without_tools_nobody_waits_for_calls() -> None:
    response = waiting(a_part()).complete(a_request_to("google"))
    assert (response.stop, response.tool_calls, response.carry) == (StopReason.COMPLETE, (), None)


def test_a_call_without_arguments_has_none_and_other_arguments_are_for_the_model_to_hear() -> None:
    part = {"functionCall": {"id": "f1", "name": _NAME}}
    (call,) = waiting(part).complete(a_tools_request()).tool_calls
    assert call.arguments == {}
    (call,) = waiting(a_part("f1", [1])).complete(a_tools_request()).tool_calls
    assert call.arguments is None


@pytest.mark.parametrize("parts", [[a_part(), a_part()], [{"functionCall": {"id": "f1"}}]])
def test_calls_that_cannot_be_told_apart_are_nobodys_answer(parts: list[dict[str, Any]]) -> None:
    assert isinstance(error_of(waiting(*parts), a_tools_request()), ProviderUnavailable)


def test_an_answer_without_parts_cannot_be_passed_back() -> None:
    assert waiting().complete(a_tools_request()).carry is None
