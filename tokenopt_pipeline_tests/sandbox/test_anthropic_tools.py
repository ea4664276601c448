"""Tool calling on the Messages API, through the real SDK: calls, results, thinking that comes back, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import MODEL, OLD_MODEL, TEXTS, ask, client_of, pack_text, results, said

Members = dict[str, Any]
SEARCH: Members = {
    "name": "search",
    "description": "Finds rules.",
    "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
COUNT: Members = {
    "name": "count",
    "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}
ASKED: Members = {"role": "user", "content": pack_text(*TEXTS)}
BETWEEN_TOOLS: Members = {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}}


def calls(message: anthropic.types.Message) -> list[anthropic.types.ToolUseBlock]:
    return [block for block in message.content if block.type == "tool_use"]


def content(message: anthropic.types.Message) -> list[Members]:
    """The answer as it is passed back."""
    found: list[Members] = json.loads(message.model_dump_json(exclude_unset=True))["content"]
    return found


def told(message: anthropic.types.Message) -> list[Members]:
    """A result for every call."""
    return [{"type": "tool_result", "tool_use_id": call.id, "content": "3 rules"} for call in calls(message)]


def after(message: anthropic.types.Message, **changed: Any) -> list[Members]:
    """The conversation with the answer and its results."""
    turns: Members = {"assistant": content(message), "user": told(message)}
    return [ASKED, *({"role": role, "content": said} for role, said in {**turns, **changed}.items())]


def test_tools_are_called_side_by_side_over_rounds_and_then_the_answer_is_the_one_without_tools(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    sandbox.control.set_tools({"rounds": 2, "parallel": 2})
    plain, messages = ask(client), [ASKED]
    for _ in range(2):
        message = ask(client, messages=messages, tools=[SEARCH, COUNT])
        assert message.stop_reason == "tool_use"
        assert [call.name for call in calls(message)] == ["search", "count"]
        assert isinstance(calls(message)[1].input["n"], int)
        assert message.content[0].type == "thinking"
        messages += after(message)[1:]
    answer = ask(client, messages=messages, tools=[SEARCH, COUNT])
    assert answer.stop_reason == "end_turn"
    assert results(answer) == results(plain)
    stats = sandbox.control.stats()
    assert (stats["tool_calls"], stats["blocks"]) == (4, 2 * len(TEXTS))


def test_every_turn_is_read_from_what_the_turn_before_wrote(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_tools({"rounds": 2})
    mark = {"cache_control": {"type": "ephemeral"}}
    first: Members = {"role": "user", "content": [{"type": "text", "text": pack_text("word " * 4_000), **mark}]}
    messages, usages = [first], []
    for _ in range(3):
        message = ask(client, messages=messages, tools=[SEARCH])
        usages.append(message.usage)
        results_of = told(message)
        if results_of:
            results_of[-1] |= mark
            messages = [*messages, {"role": "assistant", "content": content(message)}]
            messages.append({"role": "user", "content": results_of})
    totals = [usage.cache_read_input_tokens + usage.cache_creation_input_tokens for usage in usages]  # type: ignore[operator]
    assert usages[0].cache_read_input_tokens == 0
    assert [usage.cache_read_input_tokens for usage in usages[1:]] == totals[:2]
    assert totals == sorted(set(totals))


def test_a_stream_of_calls_adds_up_to_the_same_message(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_tools({"parallel": 2})
    request: Members = {"model": MODEL, "max_tokens": 900, "messages": [ASKED], "tools": [SEARCH, COUNT]}
    whole = client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        streamed = stream.get_final_message()
    assert [(call.name, call.input) for call in calls(streamed)] == [(call.name, call.input) for call in calls(whole)]
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert len({call.id for call in calls(streamed)}) == 2


def test_a_choice_binds_the_model(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_tools({"parallel": 2})
    more: Members = {"model": OLD_MODEL, "tools": [SEARCH, COUNT]}
    assert not calls(ask(client, **more, tool_choice={"type": "none"}))
    (forced,) = calls(ask(client, **more, tool_choice={"type": "tool", "name": "count"}))
    assert forced.name == "count"
    alone = ask(client, **more, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert len(calls(alone)) == 1


def test_thinking_between_tools_begins_with_the_results(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_tools({"rounds": 2})
    first = ask(client, **BETWEEN_TOOLS, tools=[SEARCH])
    assert [block.type for block in first.content] == ["tool_use"]
    messages = after(first)
    second = ask(client, **BETWEEN_TOOLS, tools=[SEARCH], messages=messages)
    assert [block.type for block in second.content] == ["thinking", "tool_use"]
    messages += after(second)[1:]
    assert results(ask(client, **BETWEEN_TOOLS, tools=[SEARCH], messages=messages))


def _refusal(client: anthropic.Anthropic, messages: list[Members], **more: Any) -> str:
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(client, messages=messages, **{"tools": [SEARCH, COUNT], **more})
    return str(refused.value.body["error"]["message"])  # type: ignore[index]  # a JSON body


def test_every_call_wants_its_result_first_in_the_next_message(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_tools({"parallel": 2})
    message = ask(client, tools=[SEARCH, COUNT])
    first, second = told(message)
    lacking = (
        f"messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: {calls(message)[1].id}."
    )
    assert _refusal(client, after(message, user=[first])).startswith(lacking)
    assert _refusal(client, after(message, user=[first, {"type": "text", "text": "x"}, second])).startswith(lacking)
    foreign = {**second, "tool_use_id": "toolu_nobody"}
    assert _refusal(client, after(message, user=[first, foreign])).startswith(
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_nobody."
    )
    assert "each tool_use must have a single result" in _refusal(client, after(message, user=[first, second, first]))
    assert "must define tools" in _refusal(client, after(message), tools=[])
    twice = [*after(message), *after(message)[1:]]
    assert "ids must be unique" in _refusal(client, twice)


def test_thinking_comes_back_as_it_was(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    message = ask(client, tools=[SEARCH])
    thinking, call = content(message)
    assert thinking["type"] == "thinking"
    cannot = "blocks in the latest assistant message cannot be modified"
    assert cannot in _refusal(client, after(message, assistant=[call]))
    assert cannot in _refusal(client, after(message, assistant=[{**thinking, "thinking": "aha"}, call]))
    forged = {**thinking, "signature": thinking["signature"][::-1]}
    assert "messages.1.content.0: Invalid `signature` in `thinking` block" in _refusal(
        client, after(message, assistant=[forged, call])
    )
    assert said(ask(client, messages=after(message), tools=[SEARCH]))


@pytest.mark.parametrize(
    ("model", "binds"),
    [pytest.param("claude-haiku-5-5", True, id="5.5"), pytest.param("claude-sonnet-5", False, id="before")],
)
def test_from_5_5_on_thinking_belongs_to_its_conversation(client: anthropic.Anthropic, model: str, binds: bool) -> None:
    message = ask(client, model=model, tools=[SEARCH])
    _, *turns = after(message)
    elsewhere: list[Members] = [{"role": "user", "content": pack_text("Another one.")}, *turns]
    if binds:
        assert "Invalid `signature`" in _refusal(client, elsewhere, model=model)
    else:
        assert results(ask(client, model=model, tools=[SEARCH], messages=elsewhere))
    assert "Invalid `signature`" in _refusal(client, after(message), model="claude-opus-5")


def test_thinking_belongs_to_its_account(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    message = ask(client, tools=[SEARCH])
    with client_of(sandbox, "another") as other:
        assert "Invalid `signature`" in _refusal(other, after(message))


def test_an_older_model_that_thinks_wants_thinking_before_its_last_call(client: anthropic.Anthropic) -> None:
    enabled: Members = {"model": OLD_MODEL, "thinking": {"type": "enabled", "budget_tokens": 1_024}}
    message = ask(client, model=OLD_MODEL, tools=[SEARCH])
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in _refusal(
        client, after(message), **enabled
    )


def test_a_call_nobody_can_make_and_arguments_nobody_takes_are_sent_all_the_same(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    sandbox.control.set_tools({"parallel": 2, "tools": ["nobody", "count"], "arguments": {"count": "{oops"}})
    unknown, broken = calls(ask(client, tools=[SEARCH, COUNT]))
    assert (unknown.name, unknown.input) == ("nobody", {})
    assert broken.input == {"INVALID_JSON": "{oops"}


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        pytest.param({**SEARCH, "name": "a b"}, "tools.0.custom.name: String should match pattern", id="a name"),
        pytest.param({**SEARCH, "strikt": True}, "tools.0.custom.strikt: Extra inputs", id="a member"),
    ],
)
def test_declarations_are_checked(client: anthropic.Anthropic, tool: Members, words: str) -> None:
    assert words in _refusal(client, [ASKED], tools=[tool])


def test_counting_counts_tools_and_turns(client: anthropic.Anthropic) -> None:
    message = ask(client, tools=[SEARCH])
    for messages in ([ASKED], after(message)):
        counted = client.messages.count_tokens(model=MODEL, messages=messages, tools=[SEARCH])  # type: ignore[arg-type,list-item]
        billed = ask(client, messages=messages, tools=[SEARCH], output_config={}).usage
        assert counted.input_tokens == billed.input_tokens
