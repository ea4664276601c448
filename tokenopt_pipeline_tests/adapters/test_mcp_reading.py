"""Declarations that no model can be given are refused by name; results become text that says what they held."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from mcp.types import Tool as McpTool

from tokenopt_pipeline.adapters.mcp_reading import MOST_DECLARATION_BYTES, outcome_of, told_in_one_line, tool_of
from tokenopt_pipeline.domain.errors import InvalidInput


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"input_schema": {"type": "array"}}, "its input schema is of type 'array', allowed object"),
        ({"input_schema": {}}, "its input schema is of type None, allowed object"),
        ({"description": "x" * MOST_DECLARATION_BYTES}, f"bytes, allowed up to {MOST_DECLARATION_BYTES}"),
        ({"input_schema": {"type": "object", "default": float("nan")}}, "cannot be said in JSON"),
        ({"output_schema": {"type": "object", "default": float("inf")}}, "cannot be said in JSON"),
        ({"description": "\ud800"}, "cannot be said in JSON"),
        ({"input_schema": _deep(2_000)}, "cannot be said in JSON"),
    ],
)
def test_a_tool_that_no_model_can_be_given_is_refused_by_name(members: dict[str, Any], said: str) -> None:
    declared = McpTool.model_construct(**{"name": "t", "input_schema": {"type": "object"}, **members})
    with pytest.raises(InvalidInput) as refused:
        tool_of("s", declared, where="bridge.servers.s.tools: 't'")
    assert str(refused.value).startswith("bridge.servers.s.tools: 't': ")
    assert said in str(refused.value)


def test_every_kind_of_content_leaves_a_line() -> None:
    content: list[Any] = [
        TextContent(text="one"),
        ImageContent(data="AAAABBBB", mime_type="image/png"),
        AudioContent(data="AAAA", mime_type="audio/wav"),
        ResourceLink(name="guide", uri="file:///guide.md"),
        EmbeddedResource(resource=TextResourceContents(uri="file:///a", text="two")),
        EmbeddedResource(resource=BlobResourceContents(uri="file:///b", blob="AAAA")),
    ]
    assert outcome_of(CallToolResult(content=content)).text.splitlines() == [
        "one",
        "[image image/png, 6 bytes, not shown]",
        "[audio audio/wav, 3 bytes, not shown]",
        "[resource guide: file:///guide.md]",
        "two",
        "[resource file:///b, not shown]",
    ]


def test_of_many_errors_the_first_is_told_short_and_in_one_line() -> None:
    inner = ExceptionGroup("inner", [ValueError("line one\nline two " + "x" * 1_000), KeyError("k")])
    told = told_in_one_line(ExceptionGroup("outer", [inner]))
    assert told.startswith("line one line two x")
    assert len(told) == 300
    assert told_in_one_line(ValueError()) == "ValueError"
