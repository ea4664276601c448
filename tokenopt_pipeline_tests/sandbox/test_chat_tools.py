"""Tool calling on Chat Completions as compatible servers speak it, through the real SDK."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import TEXTS, pack_text
from .asking_chat import ask, client_of, contract, results, server

Members = dict[str, Any]
SEARCH: Members = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Finds rules.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
COUNT: Members = {
    "type": "function",
    "function": {
        "name": "count",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}
ASKED: list[Members] = [
    {"role": "system", "content": contract()},
    {"role": "user", "content": pack_text(*TEXTS)},
]


@pytest.fixture
def client(sandbox: Sandbox) -> openai.OpenAI:
    return client_of(sandbox)


def said(completion: Any) -> Members:
    """The answer as it is passed back."""
    found: Members = json.loads(completion.choices[0].message.model_dump_json(exclude_unset=True))
    return found


def told(message: Members) -> list[Members]:
    """A result for every call."""
    return [{"role": "tool", "tool_call_id": call["id"], "content": "3 rules"} for call in message["tool_calls"]]


def test_tools_are_called_side_by_side_over_rounds_and_then_the_answer_is_the_one_without_tools(
    sandbox: Sandbox, client: openai.OpenAI
) -> None:
    sandbox.control.set_tools({"rounds": 2, "parallel": 2})
    plain, messages = ask(client), list(ASKED)
    prompts = []
    for _ in range(2):
        completion = ask(client, messages=messages, tools=[SEARCH, COUNT])
        assert completion.choices[0].finish_reason == "tool_calls"
        answer = said(completion)
        assert answer["content"] is None
        assert [call["function"]["name"] for call in answer["tool_calls"]] == ["search", "count"]
        assert isinstance(json.loads(answer["tool_calls"][1]["function"]["arguments"])["n"], int)
        messages += [answer, *told(answer)]
        assert completion.usage is not None
        prompts.append(completion.usage.prompt_tokens)
    last = ask(client, messages=messages, tools=[SEARCH, COUNT])
    assert last.choices[0].finish_reason == "stop"
    assert results(last) == results(plain)
    assert prompts == sorted(set(prompts))
    assert sandbox.control.stats()["tool_calls"] == 4


def test_a_choice_binds_the_model(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2})
    more: Members = {"tools": [SEARCH, COUNT]}
    assert results(ask(client, **more, tool_choice="none"))
    forced = said(ask(client, **more, tool_choice={"type": "function", "function": {"name": "count"}}))
    assert [call["function"]["name"] for call in forced["tool_calls"]] == ["count"]
    assert len(said(ask(client, **more, parallel_tool_calls=False))["tool_calls"]) == 1
    sandbox.control.set_tools({"rounds": 0})
    assert said(ask(client, **more, tool_choice="required"))["tool_calls"]


def refusal(client: openai.OpenAI, messages: list[Members], **more: Any) -> str:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, messages=messages, **{"tools": [SEARCH, COUNT], **more})
    return str(refused.value.response.json()["error"]["message"])


def test_every_call_wants_its_result_and_every_result_its_call(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2})
    answer = said(ask(client, tools=[SEARCH, COUNT]))
    first, second = told(answer)
    lacking = f"The following tool_call_ids did not have response messages: {second['tool_call_id']}"
    assert refusal(client, [*ASKED, answer, first]).endswith(lacking)
    assert refusal(client, [*ASKED, answer, first, {"role": "user", "content": "?"}, second]).endswith(lacking)
    lonely = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'"
    assert lonely in refusal(client, [*ASKED, first])
    assert lonely in refusal(client, [*ASKED, answer, first, {**second, "tool_call_id": "call_nobody"}])
    nameless = {**answer, "tool_calls": [{**answer["tool_calls"][0], "id": None}]}
    assert "id: field required" in refusal(client, [*ASKED, nameless])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "does not match pattern", id="name"
        ),
        pytest.param({"tools": [{"type": "function"}]}, "tools[0].function.name: field required", id="no name"),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
            "must be 'object'",
            id="no object",
        ),
        pytest.param({"tools": openai.omit, "tool_choice": "auto"}, "`tools` must be set", id="nothing to choose"),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "does not match any", id="absent"
        ),
        pytest.param({"tool_choice": "some"}, "unknown value 'some'", id="no choice"),
    ],
)
def test_declarations_and_choices_are_checked(client: openai.OpenAI, more: Members, words: str) -> None:
    assert words in refusal(client, ASKED, **more)


def test_broken_arguments_are_sent_as_the_model_wrote_them(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2, "tools": ["nobody", "count"], "arguments": {"count": "{oops"}})
    unknown, broken = said(ask(client, tools=[SEARCH, COUNT]))["tool_calls"]
    assert unknown["function"] == {"name": "nobody", "arguments": "{}"}
    assert broken["function"]["arguments"] == "{oops"


def test_a_server_may_know_no_tools_or_give_its_calls_no_ids() -> None:
    with running_sandbox(server(tools=False)) as sandbox, client_of(sandbox) as client:
        assert refusal(client, ASKED) == "local-model does not support tools"
        assert results(ask(client))
    with running_sandbox(server(call_ids=False, strict=True)) as sandbox, client_of(sandbox) as client:
        answer = said(ask(client, tools=[SEARCH]))
        assert "id" not in answer["tool_calls"][0]
        numbered = {**answer, "tool_calls": [{**answer["tool_calls"][0], "id": "call-0"}]}
        assert results(ask(client, messages=[*ASKED, numbered, *told(numbered)], tools=[SEARCH]))
