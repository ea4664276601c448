"""The tools of a run, called through the real client: what they take, what they give, and that both keep their schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import mcp
import pytest

from tokenopt_pipeline.adapters.json_schema import ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.domain.errors import StoreUnavailable
from tokenopt_pipeline.domain.run_views import MOST_BYTES, BlockOutcome, FoundRule, RuleFindings
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall, ToolOutcome
from tokenopt_pipeline.mcp_server import run_server
from tokenopt_pipeline.ports import RuleSearch
from tokenopt_pipeline_tests.mcp_server.conftest import DOCUMENT, Reading

_TOOLS = ("get_block_batch", "get_schema_for_block_type", "lookup_previous_results", "search_style_rules")


@contextmanager
def connected(reading: Reading, rules: RuleSearch | None = None) -> Iterator[McpHost]:
    server = ToolServer(name="own", builtin=True, tools=_TOOLS)
    with McpHost([server], environment={}, start_timeout_s=30, builtin=run_server(reading, rules)) as host:
        yield host


def asked(host: McpHost, name: str, **arguments: Any) -> ToolOutcome:
    return host.call([ToolCall(call_id="c1", name=f"own__{name}", arguments=arguments)], timeout_s=10)["c1"]


def told(host: McpHost, name: str, **arguments: Any) -> Any:
    """The structured answer of a call, which keeps the schema that its tool declares."""
    outcome = asked(host, name, **arguments)
    assert not outcome.is_error, outcome
    tool = host.tools().find(f"own__{name}")
    assert tool is not None
    assert ToolSchemaValidators(host.tools()).result_violation(tool, outcome.structured) is None
    # Older clients read the text.
    assert json.loads(outcome.text) == outcome.structured
    return outcome.structured


def test_every_tool_declares_what_it_takes_and_gives(reading: Reading) -> None:
    with connected(reading) as host:
        tools = host.tools().tools
    assert [tool.name for tool in tools] == list(_TOOLS)
    for tool in tools:
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema is not None
        assert tool.output_schema["additionalProperties"] is False


def test_blocks_are_read_page_by_page(reading: Reading) -> None:
    with connected(reading) as host:
        first = told(host, "get_block_batch", start=0, count=2)
        assert [b["text"] for b in first["blocks"]] == ["One.", "Two."]
        assert (first["n_blocks"], first["next_start"]) == (3, 2)
        assert first["blocks"][0] == {
            "block_uid": f"{DOCUMENT}:0",
            "ordinal": 0,
            "type": "paragraph",
            "text": "One.",
            "is_cut": False,
        }
        last = told(host, "get_block_batch", start=2, count=2)
        assert ([b["text"] for b in last["blocks"]], last["next_start"]) == (["Three."], None)
        assert told(host, "get_block_batch", start=3, count=1) == {"blocks": [], "n_blocks": 3, "next_start": None}


def test_an_answer_ends_where_it_would_become_too_long_and_says_where_to_go_on(reading: Reading) -> None:
    reading.texts = ["x" * 30_000] * 9
    with connected(reading) as host:
        answer = told(host, "get_block_batch", start=1, count=8)
    assert len(answer["blocks"]) == 4
    assert sum(len(b["text"]) for b in answer["blocks"]) <= MOST_BYTES
    assert all(b["is_cut"] for b in answer["blocks"])
    assert answer["next_start"] == 5


def test_a_type_is_told_its_fields(reading: Reading) -> None:
    reading.schema = {"properties": {"party": {}, "table_rows": {}}, "required": [], "applies_to": ["table"]}
    with connected(reading) as host:
        assert told(host, "get_schema_for_block_type", type="paragraph") == {
            "applies": False,
            "reason": "Schema obligations is asked of blocks of table.",
            "answer_schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"party": {}},
                "required": [],
            },
        }
        assert set(told(host, "get_schema_for_block_type", type="table")["answer_schema"]["properties"]) == {
            "party",
            "table_rows",
        }


def test_previous_results_are_the_blocks_own_and_its_neighbours(reading: Reading) -> None:
    def outcome(i: int, values: dict[str, Any] | None) -> BlockOutcome:
        return BlockOutcome(uid=f"{DOCUMENT}:{i}", ordinal=i, status="ai_complete", values=values)

    uid = f"{DOCUMENT}:2"
    reading.known = {uid: [outcome(2, {"kind": "x" * 20_000}), outcome(1, {"kind": "duty"})]}
    with connected(reading) as host:
        found = told(host, "lookup_previous_results", block_uid=uid)
        assert (found["found"], found["block"]["values"], found["block"]["is_cut"]) == (True, None, True)
        assert [r["values"] for r in found["preceding"]] == [{"kind": "duty"}]
        nothing = told(host, "lookup_previous_results", block_uid=f"{'e' * 64}:0")
        assert nothing == {"found": False, "block": None, "preceding": []}


def test_without_an_index_a_search_says_so(reading: Reading) -> None:
    reading.schema = {"references": ["guide.md"]}
    with connected(reading) as host:
        found = told(host, "search_style_rules", query="commas")
    assert found["rules"] == []
    assert "No reference index is served" in found["message"]
    assert "guide.md" in found["message"]


class _Rules:
    """`ports.RuleSearch` that finds the query."""

    def search(self, run: Run, query: str, *, limit: int) -> RuleFindings:
        rule = FoundRule(rule_id=f"r{run.run_no}", reference="guide.md", text=query, score=0.5)
        return RuleFindings(rules=(rule,) * (limit + 3))


def test_rules_are_found_in_the_index_that_is_served(reading: Reading) -> None:
    with connected(reading, _Rules()) as host:
        found = told(host, "search_style_rules", query="commas")
    assert found["rules"][0] == {"rule_id": "r1", "reference": "guide.md", "text": "commas", "score": 0.5}
    assert len(found["rules"]) == 10


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("get_block_batch", {"start": -1, "count": 1}, "start: Input should be greater than or equal to 0"),
        ("get_block_batch", {"start": 0, "count": 51}, "count: Input should be less than or equal to 50"),
        ("get_block_batch", {"start": "0", "count": 1}, "start: Input should be a valid integer"),
        ("get_block_batch", {"start": 0}, "count: Field required"),
        ("get_block_batch", {"start": 0, "count": 1, "run": "r2"}, "run: Extra inputs are not permitted"),
        ("get_schema_for_block_type", {"type": "poem"}, "type: Value error, 'poem' is not a block type"),
        ("lookup_previous_results", {"block_uid": "x" * 101}, "block_uid: String should have at most 100"),
        ("search_style_rules", {"query": ""}, "query: String should have at least 1"),
        ("search_style_rules", {"query": "x" * 2_001}, "query: String should have at most 2000"),
    ],
)
def test_arguments_out_of_bounds_are_refused_in_one_line(
    reading: Reading, name: str, arguments: dict[str, Any], said: str
) -> None:
    with connected(reading) as host:
        outcome = asked(host, name, **arguments)
    assert outcome.is_error
    assert said in outcome.text
    assert "\n" not in outcome.text


def test_a_tool_that_is_not_there_is_told_with_those_that_are(reading: Reading) -> None:
    async def ask() -> Any:
        async with mcp.Client(run_server(reading)) as client:
            return await client.call_tool("drop_tables", {})

    result = anyio.run(ask)
    assert result.is_error
    assert "there is no tool 'drop_tables'; there are: get_block_batch" in result.content[0].text


def test_a_database_that_is_away_is_an_error_of_the_call_in_our_words() -> None:
    class Away(Reading):
        def blocks(self, *, start: int, count: int) -> Any:
            raise StoreUnavailable("database: connection refused")

    with connected(Away()) as host:
        assert asked(host, "get_block_batch", start=0, count=1) == ToolOutcome(
            text="database: connection refused", is_error=True
        )


def test_a_defect_of_ours_tells_a_client_nothing_of_its_inside() -> None:
    class Broken(Reading):
        def blocks(self, *, start: int, count: int) -> Any:
            raise KeyError("select secret from table")

    with connected(Broken()) as host:
        outcome = asked(host, "get_block_batch", start=0, count=1)
    assert outcome.is_error
    assert "secret" not in outcome.text
