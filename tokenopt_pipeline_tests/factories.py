"""Values for tests: every default is valid, and a test overrides what it is about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Origin
from tokenopt_pipeline.domain.packing import PackableBlock, PackLimits
from tokenopt_pipeline.domain.packs import OpenPack, PackMember
from tokenopt_pipeline.domain.policy import Policy, resolve
from tokenopt_pipeline.domain.prefilter import BlockFacts
from tokenopt_pipeline.domain.prompts import PromptBlock
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.routing import ModelRef, Route
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.domain.schemas import ExtractionSchema, parse_schema
from tokenopt_pipeline.domain.tools import Tool, ToolCall
from tokenopt_pipeline.domain.usage import TokenUsage


def a_schema_document(**members: Any) -> dict[str, Any]:
    """A schema file of one free-text field and one choice; a member that is None is left out."""
    document = {
        "ref": "obligations",
        "type": "object",
        "properties": {"party": {"type": "string"}, "kind": {"enum": ["duty", "right", "none"]}},
        "required": ["kind"],
        **members,
    }
    return {key: value for key, value in document.items() if value is not None}


def a_schema(**members: Any) -> ExtractionSchema:
    """The parsed `a_schema_document`."""
    return parse_schema(a_schema_document(**members), name="obligations")


def a_schema_of(*names: str, **members: Any) -> ExtractionSchema:
    """A schema whose fields have these names and no type."""
    return a_schema(properties={name: {} for name in names}, required=[], **members)


def a_model(**changes: Any) -> ModelSpec:
    """A model whose tokens are exactly our tokenizer's."""
    model = ModelSpec(
        ref=ModelRef(provider="anthropic", model="claude-sonnet-5-5"),
        context_tokens=200_000,
        max_output_tokens=64_000,
        cache_minimum_tokens=1_024,
        token_ratio=1.0,
        token_ratio_guard=1.0,
        request_overhead_tokens=300,
        output_method="json_schema",
    )
    return replace(model, **changes)


def a_policy(**sections: Mapping[str, object]) -> Policy:
    """The defaults, overridden by sections as a policy file would."""
    return resolve([("test", sections)]).policy


def a_block(**changes: Any) -> PackableBlock:
    """A block of 50 tokens at the start of the run."""
    return replace(PackableBlock(block_no=1, ordinal=0, tokens=50), **changes)


def blocks_of(*tokens: int) -> list[PackableBlock]:
    """Blocks of these lengths in document order; block numbers count from 100, ordinals from 0."""
    return [PackableBlock(block_no=100 + i, ordinal=i, tokens=n) for i, n in enumerate(tokens)]


def some_limits(**changes: Any) -> PackLimits:
    """Limits that ten blocks of a few hundred tokens stay under."""
    limits = PackLimits(
        max_blocks=10,
        input_budget_tokens=100_000,
        output_budget_tokens=8_192,
        answer_tokens=200,
        answer_per_block_token=0.0,
    )
    return replace(limits, **changes)


def a_prompt_block(**changes: Any) -> PromptBlock:
    """The first block of a pack, a paragraph."""
    return replace(PromptBlock(ordinal=1, type=BlockType.PARAGRAPH, text="The tenant pays the rent."), **changes)


def some_facts(**changes: Any) -> BlockFacts:
    """A paragraph of twelve words."""
    return replace(BlockFacts(type=BlockType.PARAGRAPH, is_blank=False, words=12), **changes)


def a_request(**changes: Any) -> ModelRequest:
    """A request without a cache mark."""
    request = ModelRequest(
        model=a_model(),
        system="Extract.",
        user="<blocks>",
        output_schema={"type": "object"},
        max_tokens=512,
        cache_ttl=None,
    )
    return replace(request, **changes)


def an_answer(entries: Iterable[object]) -> str:
    """The answer a model gives with these entries."""
    return json.dumps({"results": list(entries)})


def a_tool(**changes: Any) -> Tool:
    """A tool that finds rules by words."""
    tool = Tool(
        server="style",
        name="search_rules",
        description="Finds rules.",
        input_schema={
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["query"],
        },
    )
    return replace(tool, **changes)


def a_call(call_id: str = "c1", **changes: Any) -> ToolCall:
    """A call of `a_tool`."""
    call = ToolCall(call_id=call_id, name="style__search_rules", arguments={"query": "commas"})
    return replace(call, **changes)


def a_response(**changes: Any) -> ModelResponse:
    """A whole answer without a block."""
    response = ModelResponse(
        text='{"results": []}',
        stop=StopReason.COMPLETE,
        usage=TokenUsage(input_uncached=100, output=10),
        request_id=None,
        simulated=True,
    )
    return replace(response, **changes)


def a_tools_response(*calls: ToolCall, **changes: Any) -> ModelResponse:
    """An answer that waits for the results of these calls, one of `a_call` when there is none."""
    asked = {"text": "", "stop": StopReason.TOOLS, "tool_calls": calls or (a_call(),), "carry": '["carried"]'}
    return a_response(**{**asked, **changes})


def a_route(tier: str = "small", **changes: Any) -> Route:
    """The default route to a tier of `some_routing`."""
    route = Route(
        tier=tier, model=ModelRef(provider="a", model=tier), mode="sync", rule_id="default", reason="Because."
    )
    return replace(route, **changes)


def an_open_pack(**changes: Any) -> OpenPack:
    """A planned pack that asks the small tier of `a_route`."""
    pack = OpenPack(
        pack_no=1,
        shard=Shard(run_no=1, shard_no=0),
        route=a_route(),
        cache_ttl=None,
        cache_reason="One.",
        input_tokens=100,
        output_tokens=100,
        max_tokens=512,
        output_scale=1,
        generation=0,
        origin=Origin(first_tier="small"),
        tries=0,
    )
    return replace(pack, **changes)


def a_member(**changes: Any) -> PackMember:
    """A paragraph that states a number."""
    member = PackMember(
        block_no=7,
        ordinal=0,
        type=BlockType.PARAGRAPH,
        text="The tenant pays a rent of 500 euros.",
        tokens=9,
        attempts_before=0,
    )
    return replace(member, **changes)
