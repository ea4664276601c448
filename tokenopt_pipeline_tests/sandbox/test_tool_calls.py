"""Whether the model calls tools or answers, and with what."""

from __future__ import annotations

import json
import urllib.error
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject
from tokenopt_pipeline.sandbox.reply import Question, Reply
from tokenopt_pipeline.sandbox.seals import says, sealed, seals, tagged
from tokenopt_pipeline.sandbox.tool_calls import Offer, OfferedTool, answer_or_call
from tokenopt_pipeline.sandbox.tool_plan import ToolPlan

from .asking import TEXTS, pack_schema, pack_text, shared

SEARCH = OfferedTool(
    name="search", schema={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
)
COUNT = OfferedTool(
    name="count", schema={"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
)
RECORD = OfferedTool(name="record", schema=pack_schema())


def reply(
    plan: ToolPlan | None = None,
    *,
    tools: tuple[OfferedTool, ...] = (SEARCH, COUNT),
    fault: Fault | None = None,
    max_tokens: int = 9999,
    prompt: str | None = None,
    **offer: Any,
) -> Reply:
    question = Question(
        system="",
        prompt=pack_text(*TEXTS) if prompt is None else prompt,
        schema=pack_schema(),
        as_tool=False,
        max_tokens=max_tokens,
    )
    return answer_or_call(question, Offer(tools=tools, **offer), plan or ToolPlan(), fault)


def names(found: Reply) -> list[str]:
    return [use.name for use in found.calls]


def test_by_default_one_tool_is_called_once_and_then_the_answer_is_given() -> None:
    assert names(reply()) == ["search"]
    answered = reply(rounds=1)
    assert answered.calls == ()
    assert len(json.loads(answered.text)["results"]) == len(TEXTS)


def test_rounds_and_parallel_calls_take_the_tools_in_turn() -> None:
    plan = ToolPlan(rounds=2, parallel=3)
    assert [names(reply(plan, rounds=done)) for done in range(3)] == [
        ["search", "count", "search"],
        ["count", "search", "count"],
        [],
    ]
    assert names(reply(plan, several=False)) == ["search"]


def test_without_tools_or_rounds_nothing_is_called() -> None:
    assert reply(tools=()).calls == ()
    assert reply(ToolPlan(rounds=0)).calls == ()


def test_a_model_that_must_call_does_so_also_after_its_rounds() -> None:
    assert names(reply(ToolPlan(rounds=0), must_call=True)) == ["search"]


def test_the_answer_is_given_through_a_tool_that_takes_it_once_the_rounds_are_over() -> None:
    plan, tools = ToolPlan(rounds=1), (SEARCH, RECORD)
    assert names(reply(plan, tools=tools, must_call=True)) == ["search"]
    recorded = reply(plan, tools=tools, must_call=True, rounds=1)
    assert names(recorded) == ["record"]
    assert recorded.calls[0].arguments == json.loads(reply(tools=()).text)
    assert names(reply(plan, tools=(RECORD,))) == ["record"]
    assert names(reply(plan, tools=(SEARCH, RECORD), is_forced=True, must_call=True)) == ["record"]


def test_calls_differ_from_block_to_block_and_from_round_to_round() -> None:
    plan = ToolPlan(rounds=3, parallel=3)
    said = [use.text for done in range(3) for use in reply(plan, tools=(SEARCH,), rounds=done).calls]
    assert len(set(said)) == len(said)
    assert said == [use.text for done in range(3) for use in reply(plan, tools=(SEARCH,), rounds=done).calls]


def test_a_plan_names_tools_and_arguments_good_or_bad() -> None:
    plan = ToolPlan(
        parallel=3, tools=("nobody", "count", "search"), arguments={"count": {"n": "many"}, "search": '{"query": '}
    )
    unknown, bad, broken = reply(plan).calls
    assert (unknown.name, unknown.arguments, unknown.text) == ("nobody", {}, "{}")
    assert bad.arguments == {"n": "many"}
    assert broken.text == '{"query": '
    assert broken.arguments == {"INVALID_JSON": '{"query": '}


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.PROSE])
def test_a_model_that_refuses_or_talks_calls_nothing(fault: Fault) -> None:
    found = reply(fault=fault)
    assert found.calls == ()
    assert found.refused == (fault is Fault.REFUSE)


def test_a_limit_cuts_the_last_call() -> None:
    plan = ToolPlan(parallel=2)
    whole = reply(plan)
    cut = reply(plan, max_tokens=whole.output_tokens - 1)
    assert cut.truncated
    assert cut.output_tokens == whole.output_tokens - 1
    assert cut.calls[0] == whole.calls[0]
    assert cut.calls[1].arguments == {}
    assert whole.calls[1].text.startswith(cut.calls[1].text)
    assert reply(plan, fault=Fault.TRUNCATE).truncated


def test_a_fault_spoils_the_first_call() -> None:
    assert isinstance(reply(fault=Fault.WRONG_TYPE).calls[0].arguments["query"], dict)
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(reply(fault=Fault.MALFORMED).calls[0].text)


SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(
            st.text("abcXYZ_", min_size=1, max_size=5),
            st.sampled_from(
                [
                    {"type": "string", "maxLength": 20},
                    {"type": "integer", "minimum": 0, "maximum": 9},
                    {"type": ["string", "null"]},
                    {"enum": ["a", "b"]},
                    {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
                    {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
                ]
            ),
            max_size=4,
        ),
    }
)


@settings(max_examples=60, deadline=None)
@given(schema=SCHEMAS, text=st.text(max_size=60), rounds=st.integers(0, 3))
def test_arguments_fit_their_schema_whatever_it_asks(schema: JsonObject, text: str, rounds: int) -> None:
    properties = schema["properties"]
    assert isinstance(properties, dict)
    tool = OfferedTool(name="t", schema={**schema, "required": list(properties)})
    for use in reply(ToolPlan(rounds=4, parallel=2), tools=(tool,), prompt=text, rounds=rounds).calls:
        assert json.loads(use.text) == use.arguments
        jsonschema_rs.validate(tool.schema, use.arguments)


def test_arguments_fit_every_tool_of_the_recorded_servers() -> None:
    entries = json.loads(shared("data/mcp_peers/servers_and_tools.json").read_text("utf-8"))
    tools = [tool for entry in entries for tool in entry.get("tools") or []]
    assert len(tools) > 40
    for tool in tools:
        (use,) = reply(tools=(OfferedTool(name=tool["name"], schema=tool["input_schema"]),)).calls
        jsonschema_rs.validate(tool["input_schema"], use.arguments)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"round": 1}, id="unknown key"),
        pytest.param({"rounds": -1}, id="fewer than none"),
        pytest.param({"rounds": 1.5}, id="half a round"),
        pytest.param({"parallel": 0}, id="no call at all"),
        pytest.param({"tools": "search"}, id="a name for a list"),
        pytest.param({"arguments": {"search": 1}}, id="a number for arguments"),
    ],
)
def test_a_plan_that_is_not_understood_is_refused(value: Json, sandbox: Sandbox) -> None:
    with pytest.raises(ConfigRefused):
        ToolPlan.from_json(value)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        sandbox.control.set_tools(value)


def test_a_seal_fits_what_was_sealed_and_nothing_else() -> None:
    seal = sealed("thought", "0" * 32, "key", {"a": 1})
    assert seals(seal, "thought", "key", {"a": 1})
    assert seals(seal.replace("+", "-").replace("/", "_").rstrip("="), "thought", "key", {"a": 1})
    assert not seals(seal, "thought", "key", {"a": 2})
    assert not seals(seal, "other", "key", {"a": 1})
    assert not seals(seal[:-4], "thought", "key", {"a": 1})
    assert not seals("not base64!", "thought", "key", {"a": 1})


def test_a_tag_says_its_fact_and_no_other() -> None:
    name = tagged("fc_0123", "reasoned")
    assert says(name, "reasoned")
    assert not says(name, "")
    assert not says("fc_0123456789", "reasoned")
