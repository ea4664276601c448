"""Names that every provider accepts, one for each tool, and declarations that are the same bytes every time."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.tools import Toolbox, canonical_tools, toolbox, wire_name
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples
from tokenopt_pipeline_tests.factories import a_call, a_tool

_ANTHROPIC_OPENAI = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_GOOGLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")


@examples(120)
@given(ANY_TEXT, st.one_of(ANY_TEXT, st.text("ab.", min_size=60, max_size=200)))
def test_every_provider_accepts_every_name(server: str, name: str) -> None:
    said = wire_name(server, name)
    assert _ANTHROPIC_OPENAI.fullmatch(said)
    assert _GOOGLE.fullmatch(said)
    assert wire_name(server, name) == said


@pytest.mark.parametrize(
    ("server", "name", "said"),
    [
        ("style", "search_rules", "style__search_rules"),
        ("files", "read.file v2", "files__read_file_v2"),
        ("1st", "x", "_1st__x"),
        ("-", "x", "_-__x"),
        # 57 + 2 + 5 = 64: the longest that stays as it is.
        ("s" * 57, "tools", f"{'s' * 57}__tools"),
        ("s" * 58, "tools", f"{'s' * 55}_4edb31e9"),
    ],
)
def test_a_name_stays_readable(server: str, name: str, said: str) -> None:
    assert wire_name(server, name) == said


def test_names_that_are_too_long_differ_where_only_their_ends_do() -> None:
    assert wire_name("s", "x" * 80 + "a") != wire_name("s", "x" * 80 + "b")


@examples(60)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "b_"]), ANY_TEXT), max_size=6, unique=True))
def test_a_toolbox_finds_every_tool_by_its_name_or_refuses_the_two_that_share_one(pairs: list[tuple[str, str]]) -> None:
    tools = [a_tool(server=server, name=name) for server, name in pairs]
    names = {tool.wire_name for tool in tools}
    if len(names) < len(tools):
        with pytest.raises(InvalidInput, match="would both be called"):
            toolbox(tools)
        return
    box = toolbox(tools)
    assert [box.find(tool.wire_name) for tool in tools] == tools
    assert [tool.wire_name for tool in box.tools] == sorted(names)
    assert toolbox(reversed(tools)) == box


def test_a_collision_is_told_in_one_line_with_both_tools() -> None:
    with pytest.raises(InvalidInput) as refused:
        toolbox([a_tool(name="read file"), a_tool(name="read_file")])
    assert str(refused.value) == (
        "tools 'read file' of style and 'read_file' of style would both be called style__read_file: allow one of them only"
    )


def test_nothing_is_behind_a_name_that_no_tool_has() -> None:
    assert Toolbox().find("style__search_rules") is None
    assert toolbox([a_tool()]).find("search_rules") is None


def test_declarations_are_the_same_bytes_wherever_the_order_of_keywords_comes_from() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string", "title": "B"}, "a": {}}, "required": ["b"]}
    turned = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "required": ["b"],
        "properties": {"b": {"title": "B", "type": "string"}, "a": {}},
        "type": "object",
    }
    one, other = a_tool(input_schema=schema), a_tool(input_schema=turned)
    assert canonical_tools([one]) == canonical_tools([other])
    assert one.declared_schema == schema
    assert list(json.loads(canonical_tools([one]))[0][2]["properties"]) == ["b", "a"]


def test_calls_that_ask_the_same_have_one_key() -> None:
    one = a_call("c1", arguments={"query": "commas", "limit": 3})
    assert one.key == a_call("c2", arguments={"limit": 3, "query": "commas"}).key
    assert one.key != a_call("c1", arguments={"query": "commas", "limit": 3.5}).key
    assert one.key != a_call("c1", name="style__find", arguments=one.arguments).key
    assert a_call(arguments={"flag": True}).key != a_call(arguments={"flag": 1}).key
