"""Predict: what a run would ask and cost, before anything is spent or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tokenopt_pipeline.domain.batch_policy import Mode
from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG
from tokenopt_pipeline.domain.classification import classification_schema
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks
from tokenopt_pipeline.domain.packing import PackableBlock, PlannedPack, pack_limits, plan_packs
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision, Verdict, decide, skip_rules
from tokenopt_pipeline.domain.routing import ModelRef, Route, RouteTable, default_model
from tokenopt_pipeline.domain.usage import TokenUsage, naive_usage
from tokenopt_pipeline.ports import AnswerValidators, Models, PlanningStore, Prices, Tokenizer
from tokenopt_pipeline.stages.legs import RoutedBlocks, legs_of
from tokenopt_pipeline.stages.modes import mode_for
from tokenopt_pipeline.stages.plan import (
    RunRequest,
    check_askable,
    classification_tokens,
    prompt_tokens,
    recipe_of,
    run_mode,
)
from tokenopt_pipeline.stages.prepare import plan_run_cache, unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is expected of a run. Answers are estimated from the schema alone, so dollars are an upper estimate."""

    blocks: int
    kept: int
    reused: int
    #: Rule id -> blocks.
    skipped_by_rule: dict[str, int]
    packs: int
    #: Model -> how its packs are asked, and why.
    modes: Mapping[str, Mode]
    usage: TokenUsage
    #: None when a model has no known price.
    usd: Decimal | None
    usd_baseline: Decimal | None
    #: What the checks of answers are worth, a sentence each.
    checks: tuple[str, ...] = ()


def predict_run(
    request: RunRequest,
    *,
    planning: PlanningStore,
    models: Models,
    prices: Prices,
    validators: AnswerValidators,
    tokenizer: Tokenizer,
) -> Prediction:
    """The prediction for a request, by the same rules a run would follow, as one shard. Raises InvalidInput."""
    check_askable(request, models=models, prices=prices, validators=validators)
    policy, schema = request.resolved.policy, request.schema
    prefix = prompt_tokens(schema, tokenizer)
    sorted_out = sort_out(request, planning, recipe_of(request, models))
    default = models.spec(default_model(policy.routing))
    usage, usd = TokenUsage(), Decimal(0)
    priced = True
    packs = 0
    per_model: dict[tuple[str, Asks], list[PlannedPack]] = {}
    specs: dict[str, ModelSpec] = {}
    modes: dict[str, Mode] = {}
    answer_estimate = 0
    hindered = unpriced(policy, prices)
    legs, checks = legs_of(policy.routing, sorted_out.by_route, schema.task, hindered)
    first_pass = classification_tokens(request, tokenizer)
    for leg in legs:
        model = specs.setdefault(str(leg.model), models.spec(leg.model))
        is_first_pass = leg.asks is Asks.CLASSIFICATION
        asked = classification_schema(schema) if is_first_pass else schema
        limits = pack_limits(asked, policy.packing, model, prefix_tokens=first_pass if is_first_pass else prefix)
        packed = plan_packs(leg.blocks, limits, policy.packing, model)
        per_model.setdefault((str(leg.model), leg.asks), []).extend(packed)
    of_all = sum(map(len, per_model.values()))
    for (name, asks), planned in per_model.items():
        model = specs[name]
        shared = first_pass if asks is Asks.CLASSIFICATION else prefix
        of_model = sum(len(packs) for (other, _), packs in per_model.items() if other == name)
        mode = mode_for(policy, model.ref, asked=run_mode(request), packs=of_model, prices=prices)
        modes[name] = mode
        cache = plan_run_cache(
            policy, model, prices, prefix_tokens=shared, requests=len(planned), of_all=of_all, mode=mode.name
        )
        billed = prices.in_batches(policy.batches.price_share) if mode.name == "async" else prices
        for i, pack in enumerate(planned):
            call = _expected_usage(model, pack, shared, cache.ttl, is_first=i == 0)
            cost = billed.usd(model.ref, call)
            usage, priced = usage + call, priced and cost is not None
            usd += cost or Decimal(0)
        packs += len(planned)
    kept = sum(len(routed.blocks) for routed in sorted_out.by_route.values())
    for route, routed in sorted_out.by_route.items():
        model = specs.setdefault(str(route.model), models.spec(route.model))
        limits = pack_limits(schema, policy.packing, model, prefix_tokens=prefix)
        answer_estimate += sum(limits.answer_estimate(model.guarded_tokens(b.tokens)) for b in routed.blocks)

    def per_block(ref: ModelRef, blocks: Sequence[PackableBlock]) -> float | None:
        usd = usd_of_blocks(request, models.spec(ref), blocks, prices=prices, prefix_tokens=prefix)
        return None if usd is None else float(usd / len(blocks))

    one = naive_usage(
        blocks=1,
        prefix_tokens=default.billed_tokens(prefix) + default.request_overhead_tokens,
        block_tokens=default.billed_tokens(round(sorted_out.tokens / max(sorted_out.blocks, 1))),
        answer_tokens=round(answer_estimate / max(kept, 1)),
    )
    baseline = prices.usd(default.ref, one)
    return Prediction(
        blocks=sorted_out.blocks,
        kept=kept,
        reused=sorted_out.reused,
        skipped_by_rule=sorted_out.skipped,
        packs=packs,
        modes=modes,
        usage=usage,
        usd=usd if priced else None,
        usd_baseline=None if baseline is None or not kept else baseline * sorted_out.blocks,
        checks=tuple(check.sentence(*(per_block(ref, check.blocks) for ref in check.models)) for check in checks),
    )


def usd_of_blocks(
    request: RunRequest, model: ModelSpec, blocks: Sequence[PackableBlock], *, prices: Prices, prefix_tokens: int
) -> Decimal | None:
    """Dollars for asking one model about the blocks and nothing else; None without a known price."""
    policy, usd = request.resolved.policy, Decimal(0)
    limits = pack_limits(request.schema, policy.packing, model, prefix_tokens=prefix_tokens)
    planned = list(plan_packs(blocks, limits, policy.packing, model))
    n = len(planned)
    cache = plan_run_cache(policy, model, prices, prefix_tokens=prefix_tokens, requests=n, of_all=n, mode="sync")
    for i, pack in enumerate(planned):
        cost = prices.usd(model.ref, _expected_usage(model, pack, prefix_tokens, cache.ttl, is_first=i == 0))
        if cost is None:
            return None
        usd += cost
    return usd


@dataclass(slots=True, kw_only=True)
class SortedOut:
    """Blocks of a request by what happens to them."""

    blocks: int = 0
    tokens: int = 0
    reused: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    by_route: dict[Route, RoutedBlocks] = field(default_factory=dict)
    #: (Block type, tier of its route) -> blocks.
    by_kind: dict[tuple[str, str], list[PackableBlock]] = field(default_factory=dict)


def sort_out(request: RunRequest, planning: PlanningStore, recipe: str) -> SortedOut:
    """The blocks of a request by what happens to them; answers known under the recipe are reused."""
    policy = request.resolved.policy
    rules = skip_rules(policy.prefilter, request.schema)
    routes = RouteTable(policy.routing, request.schema, mode="sync")
    verdicts: dict[BlockFacts, Decision] = {}
    seen: set[str] = set()
    result = SortedOut()
    for block in planning.blocks(request.collection, answer_recipe=recipe):
        result.blocks += 1
        result.tokens += block.tokens
        decision = verdicts.get(block.facts)
        if decision is None:
            decision = verdicts[block.facts] = decide(rules, block.facts)
        if decision.verdict is Verdict.SKIP:
            result.skipped[decision.rule_id] = result.skipped.get(decision.rule_id, 0) + 1
        elif policy.reuse.enabled and (block.is_known or block.content in seen):
            result.reused += 1
        else:
            seen.add(block.content)
            route = routes.route(block_type=block.facts.type, n_tokens=block.tokens, language=block.language)
            packable = PackableBlock(block_no=result.blocks, ordinal=result.blocks, tokens=block.tokens)
            routed = result.by_route.setdefault(route, RoutedBlocks(blocks=[], types=Counter()))
            routed.blocks.append(packable)
            routed.types[block.facts.type] += 1
            result.by_kind.setdefault((block.facts.type, route.tier), []).append(packable)
    return result


def _expected_usage(model: ModelSpec, pack: PlannedPack, prefix: int, ttl: str | None, *, is_first: bool) -> TokenUsage:
    shared = model.billed_tokens(prefix) + model.request_overhead_tokens
    rest = round(pack.input_tokens * model.token_ratio / model.token_ratio_guard)
    if ttl is None or (ttl == AUTOMATIC and is_first):
        return TokenUsage(input_uncached=shared + rest, output=pack.output_tokens)
    if is_first and ttl == LONG:
        return TokenUsage(input_uncached=rest, cache_write_1h=shared, output=pack.output_tokens)
    if is_first:
        return TokenUsage(input_uncached=rest, cache_write_5m=shared, output=pack.output_tokens)
    return TokenUsage(input_uncached=rest, cache_read=shared, output=pack.output_tokens)
