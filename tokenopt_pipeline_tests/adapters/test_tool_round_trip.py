"""Tools in all four dialects and back: those of recorded servers, and any that JSON Schema can say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tool_round_trip import DIALECTS, Declared, losses
from tokenopt_pipeline.adapters import anthropic_tools, openai_tools
from tokenopt_pipeline.domain.tools import Tool, toolbox
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples
from tokenopt_pipeline_tests.factories import a_tool

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
#: Tools of the recorded servers, by the README of the data.
_RECORDED_SERVERS = 8


def recorded_servers(shared: Path) -> dict[str, list[Tool]]:
    """Server -> its tools, as an SDK of theirs has listed them."""
    recorded = json.loads((shared / "data" / "mcp_peers" / "servers_and_tools.json").read_text("utf-8"))
    return {
        entry["server"]: [
            Tool(
                server=re.sub(r"[^a-z0-9]+", "_", entry["server"]).strip("_"),
                name=tool["name"],
                description=tool["description"] or "",
                input_schema=tool["input_schema"],
                output_schema=tool["output_schema"],
            )
            for tool in entry["tools"]
        ]
        for entry in recorded
        if entry.get("tools")
    }


@each_dialect
def test_every_tool_of_every_recorded_server_comes_back_as_it_was(dialect: str, shared: Path) -> None:
    servers = recorded_servers(shared)
    assert len(servers) == _RECORDED_SERVERS
    for tools in servers.values():
        assert losses(toolbox(tools), dialect) == []
    everything = toolbox(tool for tools in servers.values() for tool in tools)
    assert losses(everything, dialect) == []


_NAMES = st.text(min_size=1, max_size=70)
_SCHEMAS: Any = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(
            _NAMES,
            st.one_of(
                st.sampled_from([{"type": "string"}, {"type": "integer", "minimum": 3}, {"enum": ["a", 1, None]}, {}]),
                st.dictionaries(st.sampled_from(["title", "default", "x-note", "format"]), JSON_VALUES, max_size=2),
            ),
            max_size=4,
        ),
    },
    optional={
        "$schema": st.just("http://json-schema.org/draft-07/schema#"),
        "additionalProperties": st.booleans(),
        "required": st.lists(_NAMES, max_size=2),
        "$defs": st.just({"item": {"type": "array", "items": {"$ref": "#/$defs/item"}}}),
        "oneOf": st.just([{"required": ["a"]}, {"required": ["b"]}]),
    },
)
_TOOLS = st.builds(Tool, server=st.just("s"), name=_NAMES, description=_NAMES, input_schema=_SCHEMAS)


@each_dialect
@examples(25)
@given(tools=st.lists(_TOOLS, max_size=4, unique_by=lambda tool: tool.wire_name))
def test_any_tool_comes_back_as_it_was(dialect: str, tools: list[Tool]) -> None:
    assert losses(toolbox(tools), dialect) == []


def _declared_as(declared: list[Declared], _: Sequence[Tool]) -> list[Declared]:
    return declared


@each_dialect
def test_a_loss_would_be_seen(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = a_tool(), a_tool(name="other")
    box, whole = toolbox([one, other]), DIALECTS[dialect]
    for changed, said in [
        ([a_tool(name="other", input_schema={}), one], ["style/other: description or schema differ"]),
        ([other, a_tool(description="")], ["style/search_rules: description or schema differ"]),
        ([other, other], ["style/search_rules: the name style__other leads elsewhere"]),
        ([other], ["1 of 2 tools are declared"]),
    ]:
        monkeypatch.setitem(DIALECTS, dialect, partial(_declared_as, whole(changed)))
        assert losses(box, dialect) == said


@pytest.mark.parametrize(
    ("schema", "anthropic", "openai"),
    [
        pytest.param({"properties": {"a": {"type": "string"}}, "required": ["a"]}, True, True, id="closed"),
        pytest.param({"properties": {"a": {"type": "string"}}, "required": []}, True, False, id="an optional one"),
        pytest.param(
            {"properties": {"a": {"minimum": 1, "type": "integer"}}, "required": ["a"]}, False, True, id="a bound"
        ),
        pytest.param({"properties": {"a": {}}, "required": ["a"]}, False, False, id="anything"),
        pytest.param({"properties": {"a": {"$ref": "#/x"}}, "required": ["a"]}, False, False, id="no definition"),
    ],
)
def test_a_tool_is_strict_only_where_its_schema_is_one_the_dialect_takes_as_it_stands(
    schema: dict[str, Any], anthropic: bool, openai: bool
) -> None:
    tool = a_tool(input_schema={"type": "object", "additionalProperties": False, **schema})
    (of_anthropic,) = anthropic_tools.declarations([tool], output_format=None)
    (of_openai,) = openai_tools.declarations([tool])
    assert of_anthropic.get("strict", False) is anthropic
    assert of_openai["strict"] is openai
    (of_older,) = anthropic_tools.declarations([tool], output_format=None, strict=False)
    assert "strict" not in of_older
    (open_one,) = openai_tools.declarations([a_tool(input_schema={"type": "object", "properties": {}})])
    assert open_one["strict"] is False


def _closed(number: int, *, optional: int = 0) -> Tool:
    names = [f"p{i}" for i in range(optional)]
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, **{name: {"type": "string"} for name in names}},
        "required": ["a"],
        "additionalProperties": False,
    }
    return a_tool(name=f"t{number:02}", input_schema=schema)


def test_no_more_than_twenty_tools_are_strict() -> None:
    declared = anthropic_tools.declarations([_closed(i) for i in range(25)], output_format=None)
    assert [tool.get("strict", False) for tool in declared] == [True] * 20 + [False] * 5


def test_strict_tools_and_the_output_format_share_the_limits_of_a_request() -> None:
    """24 optional properties in all: 10 of the format, 10 of the first tool; the second has no room, the third has."""
    form = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(10)}, "required": []}
    tools = [_closed(1, optional=10), _closed(2, optional=5), _closed(3, optional=4)]
    declared = anthropic_tools.declarations(tools, output_format=form)
    assert [tool.get("strict", False) for tool in declared] == [True, False, True]
