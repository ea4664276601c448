"""Predict: what a run would ask and cost, before anything is spent or written."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG
from tokenopt_pipeline.domain.encoding import answer_form
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import PackableBlock, PlannedPack, pack_limits, plan_packs
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision, Verdict, decide, skip_rules
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import Route, RouteTable, default_model
from tokenopt_pipeline.domain.usage import TokenUsage, naive_usage
from tokenopt_pipeline.ports import AnswerValidators, Models, PlanningStore, Prices, Tokenizer
from tokenopt_pipeline.stages.plan import RunRequest, check_askable, prompt_tokens, recipe_of
from tokenopt_pipeline.stages.prepare import plan_run_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is expected of a run. Answers are estimated from the schema alone, so dollars are an upper estimate."""

    blocks: int
    kept: int
    reused: int
    #: Rule id -> blocks.
    skipped_by_rule: dict[str, int]
    packs: int
    usage: TokenUsage
    #: None when a model has no known price.
    usd: Decimal | None
    usd_baseline: Decimal | None


def predict_run(
    request: RunRequest,
    *,
    planning: PlanningStore,
    models: Models,
    prices: Prices,
    validators: AnswerValidators,
    tokenizer: Tokenizer,
    learned: Learned = NOTHING_LEARNED,
) -> Prediction:
    """The prediction for a request, by the same rules a run would follow, as one shard. Raises InvalidInput."""
    check_askable(request, models=models, prices=prices, validators=validators)
    policy, schema = request.resolved.policy, request.schema
    prefix = prompt_tokens(answer_form(schema, policy.packing.output_form), tokenizer)
    sorted_out = _sort_out(request, planning, recipe_of(request, models))
    default = models.spec(default_model(policy.routing))
    usage, usd = TokenUsage(), Decimal(0)
    priced = True
    packs = 0
    per_model: dict[str, list[PlannedPack]] = {}
    specs: dict[str, ModelSpec] = {}
    answer_estimate = 0
    for route, blocks in sorted_out.by_route.items():
        model = specs.setdefault(str(route.model), models.spec(route.model))
        limits = pack_limits(
            schema,
            policy.packing,
            model,
            prefix_tokens=prefix,
            tier=route.tier,
            cliff_tokens=price_cliff(partial(prices.usd, model.ref), most=model.context_tokens),
            learned=learned.answers_of(route.model),
        )
        per_model.setdefault(str(route.model), []).extend(plan_packs(blocks, limits, policy.packing, model))
    of_all = sum(map(len, per_model.values()))
    for name, planned in per_model.items():
        model = specs[name]
        cache = plan_run_cache(
            policy, model, prices, prefix_tokens=prefix, requests=len(planned), of_all=of_all, mode="sync"
        )
        for i, pack in enumerate(planned):
            call = _expected_usage(model, pack, prefix, cache.ttl, is_first=i == 0)
            cost = prices.usd(model.ref, call)
            usage, priced = usage + call, priced and cost is not None
            usd += cost or Decimal(0)
        packs += len(planned)
        answer_estimate += sum(p.output_tokens for p in planned)
    kept = sum(len(blocks) for blocks in sorted_out.by_route.values())
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
        usage=usage,
        usd=usd if priced else None,
        usd_baseline=None if baseline is None or not kept else baseline * sorted_out.blocks,
    )


@dataclass(slots=True, kw_only=True)
class _SortedOut:
    blocks: int = 0
    tokens: int = 0
    reused: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    by_route: dict[Route, list[PackableBlock]] = field(default_factory=dict)


def _sort_out(request: RunRequest, planning: PlanningStore, recipe: str) -> _SortedOut:
    policy = request.resolved.policy
    rules = skip_rules(policy.prefilter, request.schema)
    routes = RouteTable(policy.routing, request.schema, mode="sync")
    verdicts: dict[BlockFacts, Decision] = {}
    seen: set[str] = set()
    result = _SortedOut()
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
            packable = PackableBlock(
                block_no=result.blocks, ordinal=result.blocks, tokens=block.tokens, type=block.facts.type
            )
            result.by_route.setdefault(route, []).append(packable)
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
