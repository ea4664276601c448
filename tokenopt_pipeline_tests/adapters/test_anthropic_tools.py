"""Tools with Anthropic's Messages API: what is sent, what is passed back, what is read."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.adapters.anthropic import TOOL
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.requests import StopReason, Turn
from tokenopt_pipeline.domain.tools import ToolCall, ToolResult
from tokenopt_pipeline_tests.adapters.anthropic_exchange import Exchange, a_message, answering, error_of
from tokenopt_pipeline_tests.adapters.provider_exchange import SCHEMA
from tokenopt_pipeline_tests.factories import a_model, a_request, a_tool

_THOUGHT: dict[str, Any] = {"type": "thinking", "thinking": "Commas…", "signature": "EqQBCgIYAhIM+/=="}
_SEALED: dict[str, Any] = {"type": "redacted_thinking", "data": "EmwKAhgB"}
_WORDS: dict[str, Any] = {"type": "text", "text": "Let me look.", "citations": None}
_NAME = a_tool().wire_name


def a_use(call_id: str = "toolu_1", name: str = _NAME, **tool_input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": tool_input, "caller": {"type": "direct"}}


def waiting(*content: dict[str, Any], **members: Any) -> Exchange:
    """A provider whose every answer waits for tools."""
    return answering(body=a_message(content=list(content), stop_reason="tool_use", **members))


def a_tools_request(**changes: Any) -> Any:
    return a_request(**{"output_schema": SCHEMA, "tools": (a_tool(),), **changes})


def test_tools_are_declared_beside_the_output_format() -> None:
    exchange = answering()
    exchange.complete(a_tools_request())
    assert exchange.body["tools"] == [
        {"name": "style__search_rules", "description": "Finds rules.", "input_schema": a_tool().input_schema}
    ]
    assert exchange.body["tool_choice"] == {"type": "auto"}
    assert exchange.body["output_config"]["format"]["type"] == "json_schema"


def test_calls_side_by_side_are_read_with_the_whole_answer_to_pass_back() -> None:
    content = [_THOUGHT, _SEALED, _WORDS, a_use("toolu_1", query="commas"), a_use("toolu_2", query="dashes", limit=2)]
    response = waiting(*content).complete(a_tools_request())
    assert response.stop is StopReason.TOOLS
    assert response.tool_calls == (
        ToolCall(call_id="toolu_1", name=_NAME, arguments={"query": "commas"}),
        ToolCall(call_id="toolu_2", name=_NAME, arguments={"query": "dashes", "limit": 2}),
    )
    turn = Turn(
        carry=response.carry or "",
        results=(
            ToolResult(call_id="toolu_1", text='{"result":"one"}'),
            ToolResult(call_id="toolu_2", text='{"error":"no"}', is_error=True),
        ),
    )
    exchange = answering()
    exchange.complete(a_tools_request(turns=(turn,)))
    assert exchange.body["messages"][1:] == [
        {"role": "assistant", "content": content},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": '{"result":"one"}'},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": '{"error":"no"}', "is_error": True},
            ],
        },
    ]


def test_words_of_ours_stand_after_the_results() -> None:
    turn = Turn(
        carry=f'[{{"type":"tool_use","id":"t1","name":"{_NAME}","input":{{}}}}]',
        results=(ToolResult(call_id="t1", text="x"),),
        note="Answer now.",
    )
    exchange = answering()
    exchange.complete(a_tools_request(turns=(turn,)))
    assert [block["type"] for block in exchange.body["messages"][2]["content"]] == ["tool_result", "text"]


def _marks(exchange: Exchange) -> list[tuple[int, int]]:
    """(message, block) of every cache mark in the conversation."""
    return [
        (m, b)
        for m, message in enumerate(exchange.body["messages"])
        for b, block in enumerate(message["content"])
        if "cache_control" in block
    ]


def test_the_first_and_the_last_two_ends_of_turns_carry_a_short_lived_mark_behind_the_prefixs_own() -> None:
    use = f'[{{"type":"tool_use","id":"t1","name":"{_NAME}","input":{{}}}}]'
    turn = Turn(carry=use, results=(ToolResult(call_id="t1", text="x"),))
    exchange = answering()
    for turns, marked in [((), [(0, 0)]), ((turn,), [(0, 0), (2, 0)]), ((turn,) * 3, [(0, 0), (4, 0), (6, 0)])]:
        exchange.complete(a_tools_request(turns=turns, cache_ttl="1h"))
        assert _marks(exchange) == marked
        assert exchange.body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
        message, block = marked[-1]
        assert exchange.body["messages"][message]["content"][block]["cache_control"]["ttl"] == "5m"
        exchange.complete(a_tools_request(turns=turns))
        assert _marks(exchange) == []


def test_tools_stay_declared_and_are_switched_off_for_the_last_answer() -> None:
    exchange = answering()
    exchange.complete(a_tools_request(answer_now=True))
    assert len(exchange.body["tools"]) == 1
    assert exchange.body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded", "refusal"])
def test_the_calls_of_a_cut_or_refused_answer_are_not_made(stop: str) -> None:
    body = a_message(content=[a_use(query="comm")], stop_reason=stop)
    response = answering(body=body).complete(a_tools_request())
    assert response.tool_calls == ()
    assert response.stop in (StopReason.TRUNCATED, StopReason.REFUSED)


def test_without_tools_nobody_waits_for_calls() -> None:
    response = waiting(a_use()).complete(a_request())
    assert (response.stop, response.tool_calls, response.carry) == (StopReason.COMPLETE, (), None)


@pytest.mark.parametrize("content", [[a_use("")], [a_use(), a_use()], [{"type": "tool_use", "id": "t1"}]])
def test_calls_that_cannot_be_told_apart_are_nobodys_answer(content: list[dict[str, Any]]) -> None:
    problem = error_of(waiting(*content), a_tools_request())
    assert isinstance(problem, ProviderUnavailable)
    assert "cannot be read" in str(problem)


def test_input_that_is_no_object_is_for_the_model_to_hear() -> None:
    (call,) = waiting({**a_use(), "input": [1]}).complete(a_tools_request()).tool_calls
    assert (call.arguments, call.problem) == (None, "it is list, not an object")


# --- models without structured outputs


def an_older(**changes: Any) -> Any:
    return a_tools_request(model=a_model(output_method="tool"), **changes)


def test_an_older_model_has_to_call_some_tool_and_in_the_end_the_one_that_records() -> None:
    exchange = waiting(a_use(query="commas"))
    response = exchange.complete(an_older())
    assert [tool["name"] for tool in exchange.body["tools"]] == [_NAME, TOOL]
    assert exchange.body["tool_choice"] == {"type": "any"}
    assert response.stop is StopReason.TOOLS
    exchange.complete(an_older(answer_now=True))
    assert exchange.body["tool_choice"] == {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}


def test_recording_ends_it() -> None:
    response = waiting(a_use(name=TOOL, results=[])).complete(an_older())
    assert (response.stop, response.text, response.tool_calls) == (StopReason.COMPLETE, '{"results": []}', ())


def test_a_record_beside_a_call_is_sent_back_because_the_call_may_change_it() -> None:
    response = waiting(a_use("t1", TOOL, results=[]), a_use("t2", query="commas")).complete(an_older())
    assert [call.call_id for call in response.tool_calls] == ["t2"]
    exchange = answering()
    turn = Turn(carry=response.carry or "", results=(ToolResult(call_id="t2", text="x"),))
    exchange.complete(an_older(turns=(turn,)))
    told = exchange.body["messages"][2]["content"]
    assert [(b["tool_use_id"], b.get("is_error", False)) for b in told] == [("t1", True), ("t2", False)]
