"""Conversations in batches set up for a test: a batch rig whose runs have the tools of a server that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tokenopt_pipeline.adapters.json_schema import ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.conversations import PostgresTurns
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.stages.conversations import OpenTools
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.scripted_provider import WordTokenizer
from tokenopt_pipeline_tests.tool_servers.faulty import TOOLS, faulty_server

#: What a policy says about it.
BRIDGE: dict[str, Any] = {"enabled": True, "servers": {"own": {"builtin": True, "tools": sorted(TOOLS)}}}
#: Vendor -> a model whose answers carry something that must come back unchanged.
THINKERS = {"anthropic": "claude-opus-5-5", "openai": "gpt-6.1-sol", "google": "gemini-3.8-flash"}


@contextmanager
def open_host() -> Iterator[McpHost]:
    """The server, in this process."""
    server = ToolServer(name="own", builtin=True, tools=tuple(TOOLS))
    with McpHost([server], environment={}, start_timeout_s=30, builtin=faulty_server()) as opened:
        yield opened


def opens(url: str, host: McpHost) -> Callable[[Run], OpenTools]:
    """Opens a host's tools for any run, with turns stored on a connection of their own."""

    def open_tools(run: Run) -> OpenTools:
        with ExitStack() as stack:
            turns = PostgresTurns(stack.enter_context(connect(url)))
            return OpenTools(
                host=host,
                schemas_of=ToolSchemaValidators,
                turns=turns,
                tokenizer=WordTokenizer(),
                close=stack.pop_all().close,
            )

    return open_tools


@dataclass(slots=True, kw_only=True)
class RoundsRig:
    """One vendor, whose models talk with tools in batches."""

    batches: BatchRig

    def plan(self, blocks: int = 16, *, bridge: dict[str, Any] | None = None, **policy: Any) -> tuple[Run, Shard]:
        """A run ready to be submitted, of packs of four blocks."""
        return self.batches.plan(blocks, bridge={**BRIDGE, **(bridge or {})}, **policy)

    def models_call(self, *tools: str, turns: int = 1, parallel: int = 1, **arguments: Any) -> None:
        """From now on models call these tools in so many turns of every conversation before they answer."""
        names = [f"own__{tool}" for tool in tools]
        given = {f"own__{tool}": value for tool, value in arguments.items()}
        plan: Any = {"rounds": turns, "parallel": parallel, "tools": names, "arguments": given}
        self.batches.sandbox.control.set_tools(plan)

    def calls(self) -> dict[str, int]:
        """State of a call -> calls."""
        rows = self.batches.rig.rows("select state, count(*) as n from call group by 1 order by 1")
        return {r["state"]: r["n"] for r in rows}

    def rounds(self) -> list[tuple[int, int]]:
        """(round, requests) of every batch that the provider had."""
        rows = self.batches.rig.rows(
            "select round, n_requests from batch where outcome is distinct from 'unborn' order by batch_no"
        )
        return [(r["round"], r["n_requests"]) for r in rows]

    def told(self) -> list[list[Any]]:
        """(call id, text, is error, is kept) of everything that models were told."""
        rows = self.batches.rig.rows("select told from turn where told is not null order by call_no")
        return [each for r in rows for each in r["told"]]
