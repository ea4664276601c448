"""Conversations with tools through the vendors' own SDKs: the sandbox refuses whatever does not come back unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators, ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.bridge import StopCause
from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.outputs import Finding, decode_answer
from tokenopt_pipeline.domain.prompts import output_schema, system_prompt, user_prompt
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.mcp_server import run_server
from tokenopt_pipeline.ports import Provider
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.stages.bridge import Bridge, BridgeOutcome
from tokenopt_pipeline_tests.factories import a_model, a_prompt_block, a_request, a_schema
from tokenopt_pipeline_tests.mcp_server.conftest import Reading
from tokenopt_pipeline_tests.stages.scripted_provider import WordTokenizer

#: Vendor, and after a colon what is special -> (provider, its URL's attribute, model, whether later turns read what earlier ones wrote).
_MODELS: dict[str, tuple[Callable[..., Provider], str, str, bool]] = {
    "anthropic": (AnthropicProvider, "anthropic_url", "claude-sonnet-5-5", True),
    "openai": (OpenAIProvider, "openai_url", "gpt-6-luna", True),
    # Its cache is the vendor's own affair.
    "google": (GoogleProvider, "google_url", "gemini-3.8-flash", False),
    # Records its answer with a tool of its own.
    "anthropic:tool": (AnthropicProvider, "anthropic_url", "claude-haiku-4-5", False),
    # Thinks, so that every turn carries sealed reasoning.
    "openai:reasoning": (OpenAIProvider, "openai_url", "gpt-5.6-luna", True),
    # Takes tools or a schema, never both.
    "google:earlier": (GoogleProvider, "google_url", "gemini-2.5-flash", False),
    "custom": (CustomProvider, "custom_url", "local-model", False),
}
#: Not in the model table.
_UNLISTED = ("custom", "google:earlier")
#: How the special ones are asked.
_CHANGES: dict[str, dict[str, Any]] = {
    "anthropic:tool": {"output_method": "tool"},
    "openai:reasoning": {"thinking": '{"effort":"low"}'},
}
_TOOLS = ("get_block_batch", "lookup_previous_results", "search_style_rules")


@pytest.fixture(scope="module")
def host() -> Iterator[McpHost]:
    own = ToolServer(name="own", builtin=True, tools=_TOOLS)
    with McpHost([own], environment={}, start_timeout_s=30, builtin=run_server(Reading())) as opened:
        yield opened


def a_pack(vendor: str) -> ModelRequest:
    """Two blocks under instructions that are long enough to be cached."""
    schema, ref = a_schema(), ModelRef(provider=vendor.partition(":")[0], model=_MODELS[vendor][2])
    blocks = [a_prompt_block(ordinal=i, text=f"The tenant pays rent {i} in Vienna.") for i in (1, 2)]
    return a_request(
        model=a_model(ref=ref) if vendor in _UNLISTED else replace(ModelTable().spec(ref), **_CHANGES.get(vendor, {})),
        system="Extract what is said.\n" * 700 + system_prompt(schema),
        user=user_prompt(schema, blocks),
        output_schema=output_schema(schema),
        max_tokens=2_000,
        cache_ttl="5m",
    )


def a_bridge(vendor: str, sandbox: Sandbox, host: McpHost, **bounds: Any) -> Bridge:
    sandbox.control.reset()
    provider, url, _, _ = _MODELS[vendor]
    box = host.tools()
    return Bridge(
        bounds=BridgePolicy(enabled=True, **bounds),
        tools=box,
        provider=provider(api_key="sandbox", base_url=getattr(sandbox, url)),
        host=host,
        schemas=ToolSchemaValidators(box),
        tokenizer=WordTokenizer(),
        prices=ListPrices(),
        clock=SystemClock(),
        timeout_s=30.0,
    )


def assert_answered(vendor: str, outcome: BridgeOutcome, plain: ModelResponse) -> None:
    """Both blocks got a valid answer, the one they get without tools."""
    assert outcome.response is not None, outcome
    answer = decode_answer(
        outcome.response.text,
        stop=outcome.response.stop,
        asked=2,
        ordinal_key="n",
        violation=JsonSchemaValidators().violation_of(a_schema()),
    )
    assert [output.finding for output in answer.outputs] == [Finding.VALID] * 2
    # A chat server that has tools is not bound to the schema, and answers with other optional fields.
    assert outcome.response.text == plain.text or vendor == "custom"


@pytest.mark.parametrize("vendor", _MODELS)
def test_every_vendor_calls_tools_side_by_side_over_several_turns_and_gives_the_answer_it_gives_without(
    vendor: str, sandbox: Sandbox, host: McpHost
) -> None:
    bridge = a_bridge(vendor, sandbox, host)
    plain = bridge.provider.complete(a_pack(vendor), timeout_s=30)
    sandbox.control.set_tools({"rounds": 2, "parallel": 3})

    outcome = bridge.converse(bridge.prepared(a_pack(vendor)))

    assert_answered(vendor, outcome, plain)
    # The one that takes no schema beside tools talks before it answers.
    assert [len(turn.tool_calls) for turn in outcome.turns] == [3, 3, 0, 0][: 4 if vendor == "google:earlier" else 3]
    told = [result for turn in outcome.loop.turns for result in turn.results]
    assert len(told) == 6
    assert not any(result.is_error for result in told)
    read = [turn.response.usage.cache_read for turn in outcome.turns]
    assert all(tokens > 3_000 for tokens in read[1:]) or not _MODELS[vendor][3]


_BAD: dict[str, Any] = {"parallel": 3, "tools": ["nobody", "own__get_block_batch", "own__search_style_rules"]}


@pytest.mark.parametrize("vendor", _MODELS)
def test_calls_of_nothing_and_with_nonsense_are_told_to_the_model_which_then_answers(
    vendor: str, sandbox: Sandbox, host: McpHost
) -> None:
    bridge = a_bridge(vendor, sandbox, host)
    plain = bridge.provider.complete(a_pack(vendor), timeout_s=30)
    nonsense: dict[str, Any] = {"own__get_block_batch": {"start": "first"}, "own__search_style_rules": '{"query": '}
    sandbox.control.set_tools({**_BAD, "arguments": nonsense})

    outcome = bridge.converse(bridge.prepared(a_pack(vendor)))

    assert_answered(vendor, outcome, plain)
    told = [result.text for turn in outcome.loop.turns for result in turn.results if result.is_error]
    assert len(told) == 3
    assert "there is no tool 'nobody'" in told[0]
    assert "the arguments break the tool's schema" in told[1]
    assert "the arguments" in told[2]
    assert sum(turn.calls_made for turn in outcome.turns) == 0


@pytest.mark.parametrize("vendor", _MODELS)
def test_a_model_that_talks_after_its_tools_is_asked_to_answer_without_them(
    vendor: str, sandbox: Sandbox, host: McpHost
) -> None:
    bridge = a_bridge(vendor, sandbox, host)
    plain = bridge.provider.complete(a_pack(vendor), timeout_s=30)
    sandbox.control.set_tools({"rounds": 1})
    sandbox.control.set_faults({"scripted": [{"fault": "prose", "nth_request": 2}]})

    outcome = bridge.converse(bridge.prepared(a_pack(vendor)))

    assert_answered(vendor, outcome, plain)
    assert [len(turn.tool_calls) for turn in outcome.turns] == [1, 0, 0]
    assert outcome.loop.answer_now


@pytest.mark.parametrize("vendor", _MODELS)
def test_a_model_that_never_stops_calling_ends_at_the_bound(vendor: str, sandbox: Sandbox, host: McpHost) -> None:
    bridge = a_bridge(vendor, sandbox, host, max_turns=3)
    sandbox.control.set_tools({"rounds": 100})

    outcome = bridge.converse(bridge.prepared(a_pack(vendor)))

    assert (outcome.response, outcome.cause) == (None, StopCause.TURNS)
    assert len(outcome.turns) == 3
