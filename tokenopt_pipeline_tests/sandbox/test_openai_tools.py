"""Tool calling on the Responses API, through the real SDK: calls, outputs, reasoning that comes back, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import TEXTS, pack_text
from .asking_openai import EARLIER_MODEL, ask, cache_counts, client_of, message, results

Members = dict[str, Any]
SEARCH: Members = {
    "type": "function",
    "name": "search",
    "description": "Finds rules.",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
        "additionalProperties": False,
    },
    "strict": True,
}
COUNT: Members = {
    "type": "function",
    "name": "count",
    "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    "strict": False,
}
ASKED = message("user", pack_text(*TEXTS))
SEALED: Members = {"include": ["reasoning.encrypted_content"]}


@pytest.fixture
def client(sandbox: Sandbox) -> openai.OpenAI:
    return client_of(sandbox)


def calls(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


def output(response: Response) -> list[Members]:
    """The answer as it is passed back."""
    found: list[Members] = json.loads(response.model_dump_json(exclude_unset=True))["output"]
    return found


def told(response: Response) -> list[Members]:
    """An output for every call."""
    return [{"type": "function_call_output", "call_id": call.call_id, "output": "3 rules"} for call in calls(response)]


def test_tools_are_called_side_by_side_over_rounds_and_then_the_answer_is_the_one_without_tools(
    sandbox: Sandbox, client: openai.OpenAI
) -> None:
    sandbox.control.set_tools({"rounds": 2, "parallel": 2})
    plain, said = ask(client), [ASKED]
    for _ in range(2):
        response = ask(client, input=said, tools=[SEARCH, COUNT], **SEALED)
        assert response.status == "completed"
        assert [item.type for item in response.output] == ["reasoning", "function_call", "function_call"]
        assert [call.name for call in calls(response)] == ["search", "count"]
        assert isinstance(json.loads(calls(response)[1].arguments)["n"], int)
        said += [*output(response), *told(response)]
    answer = ask(client, input=said, tools=[SEARCH, COUNT], **SEALED)
    assert not calls(answer)
    assert results(answer) == results(plain)
    assert sandbox.control.stats()["tool_calls"] == 4


def test_a_stored_conversation_comes_back_by_its_items(sandbox: Sandbox, client: openai.OpenAI) -> None:
    response = ask(client, tools=[SEARCH], store=True)
    assert "encrypted_content" not in output(response)[0]
    again: Members = {"input": [ASKED, *output(response), *told(response)], "tools": [SEARCH]}
    assert results(ask(client, **again, store=True))
    with pytest.raises(openai.NotFoundError, match="Items are not persisted when `store` is set to false"):
        ask(client, **again, store=False)


def test_every_turn_is_read_from_what_the_turn_before_wrote(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"rounds": 2})
    said, counts = [message("user", pack_text("word " * 4_000), marked=True)], []
    for _ in range(3):
        response = ask(client, input=said, tools=[SEARCH], prompt_cache_options={"mode": "explicit"}, **SEALED)
        counts.append(cache_counts(response))
        part = {"type": "input_text", "text": "3 rules", "prompt_cache_breakpoint": {"mode": "explicit"}}
        said += [*output(response), *({**result, "output": [part]} for result in told(response))]
    totals = [written + read for written, read in counts]
    assert counts[0][1] == 0
    assert [read for _, read in counts[1:]] == totals[:2]
    assert totals == sorted(set(totals))


def test_a_stream_of_calls_adds_up_to_the_same_response(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2})
    request: Members = {"model": EARLIER_MODEL, "input": [ASKED], "tools": [SEARCH, COUNT]}
    whole = client.responses.create(**request)
    with client.responses.stream(**request) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        streamed = stream.get_final_response()
    assert [(call.name, call.arguments) for call in calls(whole)] == [
        (call.name, call.arguments) for call in streamed.output if call.type == "function_call"
    ]
    assert "".join(pieces) == "".join(call.arguments for call in calls(whole))


def test_a_choice_binds_the_model(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2})
    more: Members = {"tools": [SEARCH, COUNT]}
    assert results(ask(client, **more, tool_choice="none"))
    (forced,) = calls(ask(client, **more, tool_choice={"type": "function", "name": "count"}))
    assert forced.name == "count"
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "count"}]}
    assert {call.name for call in calls(ask(client, **more, tool_choice=allowed))} == {"count"}
    assert len(calls(ask(client, **more, parallel_tool_calls=False))) == 1
    sandbox.control.set_tools({"rounds": 0})
    assert not calls(ask(client, **more))
    assert calls(ask(client, **more, tool_choice="required"))


def refusal(client: openai.OpenAI, said: list[Members], **more: Any) -> Members:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, input=said, **{"tools": [SEARCH, COUNT], **more})
    found: Members = refused.value.response.json()["error"]
    return found


def test_every_call_wants_its_output_and_every_output_its_call(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2})
    response = ask(client, tools=[SEARCH, COUNT], **SEALED)
    first, second = told(response)
    lacking = refusal(client, [ASKED, *output(response), first])
    assert lacking["message"] == f"No tool output found for function call {second['call_id']}."
    assert lacking["param"] == "input"
    foreign = {**second, "call_id": "call_nobody"}
    assert refusal(client, [ASKED, *output(response), first, second, foreign])["message"] == (
        "No tool call found for function call output with call_id call_nobody."
    )
    early = refusal(client, [ASKED, first, second, *output(response)])
    assert early["message"] == f"No tool call found for function call output with call_id {first['call_id']}."


def test_reasoning_comes_back_as_it_was(sandbox: Sandbox, client: openai.OpenAI) -> None:
    response = ask(client, tools=[SEARCH], **SEALED)
    (reasoning, call), result = output(response), told(response)
    lost = refusal(client, [ASKED, call, *result])
    assert lost["message"] == (
        f"Item '{call['id']}' of type 'function_call' was provided without its required 'reasoning' item:"
        f" '{reasoning['id']}'."
    )
    forged = {**reasoning, "encrypted_content": reasoning["encrypted_content"][::-1]}
    assert refusal(client, [ASKED, forged, call, *result])["code"] == "invalid_encrypted_content"
    alone = refusal(client, [ASKED, reasoning])
    assert alone["message"] == (
        f"Item '{reasoning['id']}' of type 'reasoning' was provided without its required following item."
    )
    # Without its name the call is anybody's.
    unnamed = {key: value for key, value in call.items() if key != "id"}
    assert results(ask(client, input=[ASKED, unnamed, *result], tools=[SEARCH]))
    with client_of(sandbox, "another") as other:
        assert refusal(other, [ASKED, reasoning, call, *result])["code"] == "invalid_encrypted_content"


def test_words_that_followed_reasoning_want_it_too(sandbox: Sandbox, client: openai.OpenAI) -> None:
    response = ask(client, text={}, **SEALED)
    reasoning, words = output(response)
    again = [ASKED, reasoning, words, message("user", "Go on.")]
    assert ask(client, input=again, **SEALED).output_text
    assert (
        "of type 'message' was provided without its required 'reasoning' item"
        in (refusal(client, [ASKED, words, message("user", "Go on.")])["message"])
    )


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        pytest.param(
            {"tools": [{**SEARCH, "name": "a b"}]}, "invalid_value", "string does not match pattern", id="a name"
        ),
        pytest.param(
            {"tools": [{**SEARCH, "name": "a" * 65}]},
            "string_above_max_length",
            "maximum length 64, but got a string with length 65",
            id="a long name",
        ),
        pytest.param(
            {"tools": [{**COUNT, "strict": True}]},
            "invalid_function_parameters",
            "Invalid schema for function 'count': In context=(), 'additionalProperties'",
            id="strict",
        ),
        pytest.param(
            {"tools": [{**COUNT, "parameters": {"type": "string"}}]},
            "invalid_function_parameters",
            "schema must be a JSON Schema of 'type: \"object\"'",
            id="no object",
        ),
        pytest.param(
            {"tool_choice": {"type": "function", "name": "nobody"}}, None, "Tool choice 'nobody' not found", id="absent"
        ),
        pytest.param(
            {"tools": [], "tool_choice": "required"}, None, "must be specified with 'tools' parameter", id="no tools"
        ),
        pytest.param({"tool_choice": "some"}, "invalid_value", "Supported values are", id="no choice"),
    ],
)
def test_declarations_and_choices_are_checked(
    client: openai.OpenAI, more: Members, code: str | None, words: str
) -> None:
    found = refusal(client, [ASKED], **more)
    assert found["code"] == code
    assert words in found["message"]


def test_broken_arguments_are_sent_as_the_model_wrote_them(sandbox: Sandbox, client: openai.OpenAI) -> None:
    sandbox.control.set_tools({"parallel": 2, "tools": ["nobody", "count"], "arguments": {"count": "{oops"}})
    unknown, broken = calls(ask(client, tools=[SEARCH, COUNT]))
    assert (unknown.name, unknown.arguments) == ("nobody", "{}")
    assert broken.arguments == "{oops"


def test_counting_counts_tools_and_turns(client: openai.OpenAI) -> None:
    response = ask(client, tools=[SEARCH], **SEALED)
    for said in ([ASKED], [ASKED, *output(response), *told(response)]):
        counted = client.responses.input_tokens.count(model=response.model, input=said, tools=[SEARCH])  # type: ignore[arg-type,list-item]
        billed = ask(client, input=said, tools=[SEARCH], text={}, **SEALED).usage
        assert billed is not None
        assert counted.input_tokens == billed.input_tokens
