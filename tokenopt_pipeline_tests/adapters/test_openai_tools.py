"""Tools with OpenAI's Responses API and with servers that speak Chat Completions."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.requests import ModelRequest, StopReason, Turn
from tokenopt_pipeline.domain.tools import ToolCall, ToolResult
from tokenopt_pipeline_tests.adapters.provider_exchange import Exchange, a_body, a_request_to, answering, error_of
from tokenopt_pipeline_tests.factories import a_tool

_NAME = a_tool().wire_name
_FUNCTION = {"name": _NAME, "description": "Finds rules.", "parameters": a_tool().input_schema}
_THOUGHT: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAB+/w=="}
_COMMENT: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "phase": "commentary",
    "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
}


def a_function_call(call_id: str = "call_1", arguments: Any = '{"query": "commas"}') -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": _NAME, "arguments": arguments}


def waiting(*output: dict[str, Any], **members: Any) -> Exchange:
    return answering("openai", body={**a_body("openai"), "output": list(output), **members})


def a_tools_request(vendor: str = "openai", **changes: Any) -> ModelRequest:
    return a_request_to(vendor, **{"tools": (a_tool(),), **changes})


def a_turn(*results: ToolResult, carry: str = "[]", note: str = "") -> Turn:
    return Turn(carry=carry, results=results, note=note)


# --- Responses


def test_tools_are_declared_beside_the_format_and_sealed_reasoning_is_asked_for() -> None:
    exchange = answering("openai")
    exchange.complete(a_tools_request(thinking='{"effort":"low"}'))
    assert exchange.body["tools"] == [{"type": "function", **_FUNCTION, "strict": False}]
    assert exchange.body["tool_choice"] == "auto"
    assert exchange.body["include"] == ["reasoning.encrypted_content"]
    assert exchange.body["store"] is False
    assert exchange.body["text"]["format"]["type"] == "json_schema"
    exchange.complete(a_tools_request())
    assert "include" not in exchange.body


def test_calls_side_by_side_are_read_with_all_items_to_pass_back() -> None:
    output: list[dict[str, Any]] = [
        _THOUGHT,
        _COMMENT,
        a_function_call("call_1"),
        a_function_call("call_2", '{"query": "dashes"}'),
    ]
    response = waiting(*output).complete(a_tools_request())
    assert (response.stop, response.text) == (StopReason.TOOLS, "")
    assert response.tool_calls == (
        ToolCall(call_id="call_1", name=_NAME, arguments={"query": "commas"}),
        ToolCall(call_id="call_2", name=_NAME, arguments={"query": "dashes"}),
    )
    turn = a_turn(
        ToolResult(call_id="call_1", text='{"result":"one"}'),
        ToolResult(call_id="call_2", text='{"error":"no"}', is_error=True),
        carry=response.carry or "",
    )
    exchange = answering("openai")
    exchange.complete(a_tools_request(turns=(turn,), model="gpt-5.4-mini"))
    assert exchange.body["input"][2:] == [
        *output,
        {"type": "function_call_output", "call_id": "call_1", "output": '{"result":"one"}'},
        {"type": "function_call_output", "call_id": "call_2", "output": '{"error":"no"}'},
    ]


def _marked(exchange: Exchange) -> list[str]:
    """The texts whose part carries a mark, in order."""
    parts = [p for i in exchange.body["input"] for p in i.get("content", i.get("output", [])) if isinstance(p, dict)]
    return [part["text"] for part in parts if "prompt_cache_breakpoint" in part]


def test_the_first_and_the_last_two_ends_are_marked_and_no_text_changes_when_marks_move_on() -> None:
    one, two = (a_turn(ToolResult(call_id=f"c{i}", text=f"r{i}")) for i in (1, 2))
    last = a_turn(note="Answer now.")
    exchange = answering("openai")
    for turns, marked in [
        ((), ["<blocks>"]),
        ((one,), ["<blocks>", "r1"]),
        ((one, two, last), ["<blocks>", "r2", "Answer now."]),
    ]:
        exchange.complete(a_tools_request(turns=turns, cache_ttl="5m"))
        assert _marked(exchange) == ["Extract.", *marked]
        exchange.complete(a_tools_request(turns=turns))
        assert _marked(exchange) == []
    exchange.complete(a_tools_request(turns=(one, two, last), cache_ttl="5m"))
    first_output = exchange.body["input"][2]
    assert first_output["output"] == [{"type": "input_text", "text": "r1"}]


def test_marks_of_turns_live_shortly_even_where_the_prefix_lives_long() -> None:
    exchange = answering("openai")
    exchange.complete(a_tools_request(cache_ttl="1h"))
    developer, user = (item["content"][0]["prompt_cache_breakpoint"] for item in exchange.body["input"])
    assert developer == {"mode": "explicit"}
    assert user == {"mode": "explicit", "ttl": "30m"}
    assert exchange.body["prompt_cache_options"]["ttl"] == "12h"


def test_tools_stay_declared_and_are_switched_off_for_the_last_answer() -> None:
    exchange = answering("openai")
    exchange.complete(a_tools_request(answer_now=True))
    assert len(exchange.body["tools"]) == 1
    assert exchange.body["tool_choice"] == "none"


@pytest.mark.parametrize(
    "members",
    [
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
    ],
)
def test_the_calls_of_a_cut_or_filtered_answer_are_not_made(members: dict[str, Any]) -> None:
    response = waiting(a_function_call(), **members).complete(a_tools_request())
    assert response.tool_calls == ()
    assert response.stop in (StopReason.TRUNCATED, StopReason.REFUSED)


def test_without_tools_nobody_waits_for_calls() -> None:
    response = waiting(a_function_call()).complete(a_request_to("openai"))
    assert (response.stop, response.tool_calls, response.carry) == (StopReason.COMPLETE, (), None)


@pytest.mark.parametrize("calls", [[a_function_call(""), a_function_call()], [a_function_call(), a_function_call()]])
def test_calls_that_cannot_be_told_apart_are_nobodys_answer(calls: list[dict[str, Any]]) -> None:
    assert isinstance(error_of(waiting(*calls), a_tools_request()), ProviderUnavailable)


@pytest.mark.parametrize("arguments", ["[1]", '{"query": ', '{"query": NaN}', "commas"])
def test_arguments_that_are_no_object_are_for_the_model_to_hear(arguments: str) -> None:
    (call,) = waiting(a_function_call(arguments=arguments)).complete(a_tools_request()).tool_calls
    assert call.arguments is None
    assert call.problem


# --- Chat Completions


def a_chat_call(call_id: str | None = "call_1", arguments: Any = '{"query": "commas"}') -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": _NAME, "arguments": arguments}}
    return {key: value for key, value in call.items() if value is not None}


def chatting(message: dict[str, Any], finish: str = "tool_calls") -> Exchange:
    return answering("custom", body={**a_body("custom"), "choices": [{"message": message, "finish_reason": finish}]})


def test_a_chat_server_gets_tools_and_no_format_while_it_may_call_them() -> None:
    exchange = answering("custom")
    exchange.complete(a_tools_request("custom"))
    assert exchange.body["tools"] == [{"type": "function", "function": _FUNCTION}]
    assert not {"response_format", "tool_choice"} & set(exchange.body)


def test_a_chat_server_answers_in_the_format_and_without_tools_in_the_end() -> None:
    exchange = answering("custom")
    turn = a_turn(
        ToolResult(call_id="call_1", text="one"), carry='{"role":"assistant","content":"Words."}', note="Now."
    )
    exchange.complete(a_tools_request("custom", turns=(turn,), answer_now=True))
    assert "tools" not in exchange.body
    assert exchange.body["response_format"]["type"] == "json_schema"
    assert exchange.body["messages"][2:] == [
        {"role": "assistant", "content": "Words."},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "user", "content": "Now."},
    ]


def test_a_message_goes_back_with_its_calls_and_reasoning_and_without_what_servers_refuse() -> None:
    calls = [a_chat_call("call_1"), {**a_chat_call("call_2"), "extra_content": {"google": {"thought_signature": "+/"}}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "Hm.", "refusal": None}
    response = chatting({**message, "annotations": [], "audio": None}).complete(a_tools_request("custom"))
    assert response.stop is StopReason.TOOLS
    assert [call.call_id for call in response.tool_calls] == ["call_1", "call_2"]
    exchange = answering("custom")
    exchange.complete(a_tools_request("custom", turns=(a_turn(carry=response.carry or ""),)))
    passed = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "Hm."}
    assert exchange.body["messages"][2] == passed


@pytest.mark.parametrize("arguments", ['{"query": "commas"}', {"query": "commas"}])
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
def test_servers_that_give_no_ids_other_reasons_or_plain_objects_are_understood(arguments: Any, finish: str) -> None:
    calls = [a_chat_call(None, arguments), a_chat_call(None, arguments)]
    response = chatting({"content": "", "tool_calls": calls}, finish).complete(a_tools_request("custom"))
    assert response.tool_calls == tuple(
        ToolCall(call_id=call_id, name=_NAME, arguments={"query": "commas"}) for call_id in ("call-0", "call-1")
    )
    exchange = answering("custom")
    exchange.complete(a_tools_request("custom", turns=(a_turn(carry=response.carry or ""),)))
    assert [call["id"] for call in exchange.body["messages"][2]["tool_calls"]] == ["call-0", "call-1"]


def test_the_calls_of_a_cut_completion_are_not_made() -> None:
    response = chatting({"content": None, "tool_calls": [a_chat_call()]}, "length").complete(a_tools_request("custom"))
    assert (response.stop, response.tool_calls) == (StopReason.TRUNCATED, ())


@pytest.mark.parametrize("calls", [[], None, "none", [1]])
def test_what_is_no_list_of_calls_is_none(calls: Any) -> None:
    response = chatting({"content": "Words.", "tool_calls": calls}, "stop").complete(a_tools_request("custom"))
    assert (response.stop, response.text) == (StopReason.COMPLETE, "Words.")
    assert response.carry == '{"role":"assistant","content":"Words."}'


def test_a_call_of_no_function_is_nobodys_answer() -> None:
    exchange = chatting({"content": None, "tool_calls": [{"id": "call_1", "type": "custom"}]})
    assert isinstance(error_of(exchange, a_tools_request("custom")), ProviderUnavailable)
