"""Sort out: which blocks of a request would be skipped, reused and asked, before there is a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.packing import PackableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision, Verdict, decide, skip_rules
from tokenopt_pipeline.domain.routing import Route, RouteTable
from tokenopt_pipeline.ports import PlanningStore
from tokenopt_pipeline.stages.legs import RoutedBlocks
from tokenopt_pipeline.stages.plan import RunRequest


@dataclass(slots=True, kw_only=True)
class SortedOut:
    """Blocks of a request by what happens to them."""

    blocks: int = 0
    tokens: int = 0
    #: Why an answer is there already -> blocks.
    reused: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    by_route: dict[Route, RoutedBlocks] = field(default_factory=dict)
    #: (Block type, tier of its route) -> blocks.
    by_kind: dict[tuple[str, str], list[PackableBlock]] = field(default_factory=dict)


def sort_out(request: RunRequest, planning: PlanningStore, recipe: str) -> SortedOut:
    """The blocks of a request by what happens to them; answers known under the recipe are reused."""
    policy = request.resolved.policy
    rules = skip_rules(policy.prefilter, request.schema)
    table = RouteTable(policy.routing, request.schema, mode="sync")
    verdicts: dict[BlockFacts, Decision] = {}
    # 64 bits tell millions of contents apart at a tenth of the memory of their texts; this is a forecast.
    seen: set[int] = set()
    result = SortedOut()
    for block in planning.blocks(request.collection, answer_recipe=recipe):
        result.blocks += 1
        result.tokens += block.tokens
        decision = verdicts.get(block.facts)
        if decision is None:
            decision = verdicts[block.facts] = decide(rules, block.facts)
        if decision.verdict is Verdict.SKIP:
            result.skipped[decision.rule_id] = result.skipped.get(decision.rule_id, 0) + 1
            continue
        content = hash(block.content)
        if policy.reuse.enabled and (block.is_known or content in seen):
            rule = "answered_before" if block.is_known else "same_as_earlier_block"
            result.reused[rule] = result.reused.get(rule, 0) + 1
            continue
        seen.add(content)
        kind = block.facts.type
        route = table.route(block_type=kind, n_tokens=block.tokens, language=block.language)
        packable = PackableBlock(block_no=result.blocks, ordinal=result.blocks - 1, tokens=block.tokens, type=kind)
        routed = result.by_route.get(route)
        if routed is None:
            routed = result.by_route[route] = RoutedBlocks(blocks=[], types=Counter())
        routed.blocks.append(packable)
        routed.types[kind] += 1
        result.by_kind.setdefault((kind, route.tier), []).append(packable)
    return result
