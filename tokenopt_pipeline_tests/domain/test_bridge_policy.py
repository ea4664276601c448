"""The bridge is off until somebody turns it on, and its defaults are such as it would take."""

from __future__ import annotations

from dataclasses import fields

from tokenopt_pipeline.domain.bridge_policy import SEARCH_TOOL, BridgePolicy
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.tool_servers import ToolServer


def test_nobody_calls_a_tool_unasked() -> None:
    assert (BridgePolicy().enabled, BridgePolicy().servers) == (False, ())


def test_every_default_lies_within_its_bounds() -> None:
    bounded = [f for f in fields(BridgePolicy) if f.metadata["low"] is not None]
    assert len(bounded) == 8
    stated = {f.name: str(f.default) if f.name == "max_usd" else f.default for f in bounded}
    assert resolve([("file", {"bridge": stated})]).policy.bridge == BridgePolicy()


def test_only_the_products_own_search_tool_searches_a_runs_references() -> None:
    own = ToolServer(name="own", builtin=True, tools=("get_block_batch", SEARCH_TOOL))
    blocks = ToolServer(name="own", builtin=True, tools=("get_block_batch",))
    other = ToolServer(name="web", url="https://example.com/mcp", tools=(SEARCH_TOOL,))

    assert BridgePolicy(enabled=True, servers=(other, own)).searches_references
    assert not BridgePolicy(enabled=True, servers=(other, blocks)).searches_references
    assert not BridgePolicy(enabled=False, servers=(own,)).searches_references
