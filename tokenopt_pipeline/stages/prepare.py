"""Prepare a shard: decide about each of its blocks, pack and route what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.caching import (
    request_in_output_tokens,
)
from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.knowledge import CarriedContext
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks, Hindered, Move, opening
from tokenopt_pipeline.domain.packing import PackableBlock, PackLimits, pack_limits, plan_packs
from tokenopt_pipeline.domain.packs import NewPack, carried_by
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.prefilter import WORDS_CAP, decide, skip_rules
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import Route, RouteTable, parse_model_ref
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Models, PackStore, Prices, ShardStore
from tokenopt_pipeline.stages.contexts import Contexts, PrefixCosts
from tokenopt_pipeline.stages.modes import with_modes
from tokenopt_pipeline.stages.room import Room
from tokenopt_pipeline.stages.sharing import Sharing, plan_run_cache, prefix_costs


def decide_blocks(run: Run, shard: Shard, *, shards: ShardStore) -> Mapping[str, int]:
    """An overlay with its decision for every block of the shard; rule id -> blocks.

    Rules look at few facts, so they are asked once per combination of facts, and the store joins the verdicts to the
    blocks: a million blocks cost some hundred rule calls.
    """
    rules = skip_rules(run.policy.prefilter, run.schema)
    facts = shards.undecided_facts(shard, words_cap=WORDS_CAP)
    verdicts = {f: decide(rules, f) for f in facts}
    return shards.decide(shard, verdicts, words_cap=WORDS_CAP, reuse=run.policy.reuse.enabled)


def limits_on(
    schema: ExtractionSchema,
    policy: Policy,
    model: ModelSpec,
    prices: Prices,
    *,
    prefix_tokens: int,
    tier: str,
    lengths: Mapping[str, AnswerLength],
) -> PackLimits:
    """What a pack may hold on a model of this tier, at its prices."""
    usd = partial(prices.usd, model.ref)
    return pack_limits(
        schema,
        policy.packing,
        model,
        prefix_tokens=prefix_tokens,
        tier=tier,
        cliff_tokens=price_cliff(usd, most=model.context_tokens),
        learned=lengths,
        saved_tokens=request_in_output_tokens(policy.caching, model, usd, prefix_tokens=prefix_tokens),
    )


def unpriced(policy: Policy, prices: Prices) -> Hindered:
    """Says of a model that it has no known price, where a run under the policy needs one."""
    needs_price = not policy.run.allow_unknown_price or policy.run.budget_usd is not None

    def hindered(model: str) -> Obstacle | None:
        known = not needs_price or prices.usd(parse_model_ref(model), TokenUsage()) is not None
        return None if known else Obstacle.UNPRICED

    return hindered


def pack_blocks(
    run: Run, shard: Shard, *, packs: PackStore, contexts: Contexts, models: Models, prices: Prices, now: datetime
) -> int:
    """Puts every kept block that is in no pack yet into one; how many packs were added.

    A block that fits into the context of none of its tier's models fails here, before anything is asked.
    """
    routes = RouteTable(run.policy.routing, run.schema, mode=run.mode)
    by_route: dict[Route, list[PackableBlock]] = {}
    hindered = unpriced(run.policy, prices)
    for block in packs.kept_blocks(shard):
        route = routes.route(block_type=block.type, n_tokens=block.packable.tokens, language=block.language)
        by_route.setdefault(route, []).append(block.packable)
    prompts = {asks: asked_of(run, asks).prompt_tokens for asks in Asks}
    room = Room(routing=run.policy.routing, models=models, hindered=hindered, prompts=prompts)
    planned = []
    by_move: dict[Move, list[PackableBlock]] = {}
    refused: dict[int, str] = {}
    for route, blocks in by_route.items():
        placed, without_room = room.parted(opening(run.policy.routing, route, hindered), blocks)
        refused |= without_room
        for move, some in placed.items():
            by_move.setdefault(move, []).extend(some)
    for move, packables in by_move.items():
        asked, model = asked_of(run, move.origin.asks), models.spec(move.route.model)
        limits = limits_on(
            asked.schema,
            run.policy,
            model,
            prices,
            prefix_tokens=asked.widest_prefix_tokens,
            tier=move.route.tier,
            lengths=asked.lengths(run, model),
        )
        planned += [(move, limits, p) for p in plan_packs(packables, limits, run.policy.packing, model)]
    if run.mode != "sync":
        planned = with_modes(run, planned, models=models, prices=prices, contexts=contexts)
    modes = {str(move.route.model): move.route.mode for move, _, _ in planned}
    # The run's other shards will ask about as often as this one.
    per_model = Counter(str(move.route.model) for move, _, _ in planned)

    def shared_by(name: str, requests: int) -> Sharing:
        return Sharing(requests=requests * run.n_shards, of_all=len(planned) * run.n_shards, mode=modes[name])

    def costs(model: ModelSpec) -> PrefixCosts:
        name = str(model.ref)
        billed = prices.in_batches(run.policy.batches.price_share) if modes[name] == "async" else prices
        return prefix_costs(run.policy, model, billed, shared_by(name, per_model[name]))

    contexts_of = contexts.of_packs(run, [(models.spec(move.route.model), pack) for move, _, pack in planned], costs)
    # A prefix is one per model, what is asked, and whole references.
    sharing = Counter(_prefix_of(move, context) for (move, _, _), context in zip(planned, contexts_of, strict=True))
    plans = {
        (name, asks, whole_tokens): plan_run_cache(
            run.policy,
            models.spec(parse_model_ref(name)),
            prices,
            shared_by(name, requests),
            prefix_tokens=asked_of(run, asks).prompt_tokens + whole_tokens,
        )
        for (name, asks, whole_tokens), requests in sharing.items()
    }

    def new_packs() -> Iterator[NewPack]:
        for (move, limits, pack), context in zip(planned, contexts_of, strict=True):
            cache = plans[_prefix_of(move, context)]
            yield NewPack(
                planned=pack,
                route=move.route,
                origin=move.origin,
                cache_ttl=cache.ttl,
                cache_reason=cache.reason,
                limits=limits,
                attempts=(0,) * len(pack.blocks),
                context=context,
                tools=run.policy.bridge.enabled,
            )

    return packs.add(shard, new_packs(), refused=refused, now=now)


def _prefix_of(move: Move, context: CarriedContext) -> tuple[str, Asks, int]:
    return str(move.route.model), move.origin.asks, carried_by(move.origin, context).prefix_tokens
