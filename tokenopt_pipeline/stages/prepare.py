"""Prepare a shard: enrol its blocks, decide about each, pack and route what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from tokenopt_pipeline.domain.caching import (
    CachePlan,
    cache_prices,
    expected_spacing_s,
    plan_cache,
    request_in_output_tokens,
)
from tokenopt_pipeline.domain.learning import Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import PackLimits, pack_limits, plan_packs
from tokenopt_pipeline.domain.packs import KeptBlock, NewPack
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.prefilter import WORDS_CAP, decide, skip_rules
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import Route, RouteTable
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.ports import Models, PackStore, Prices, ShardStore


def enrol_blocks(shard: Shard, *, shards: ShardStore) -> int:
    """Gives every block of the shard its pending overlay; how many blocks the shard has."""
    return shards.enrol(shard)


def decide_blocks(run: Run, shard: Shard, *, shards: ShardStore) -> Mapping[str, int]:
    """A stored decision for every block of the shard; rule id -> blocks.

    Rules look at few facts, so they are asked once per combination of facts, and the store joins the verdicts to the
    blocks: a million blocks cost some hundred rule calls.
    """
    rules = skip_rules(run.policy.prefilter, run.schema)
    facts = shards.undecided_facts(shard, words_cap=WORDS_CAP)
    verdicts = {f: decide(rules, f) for f in facts}
    return shards.decide(shard, verdicts, words_cap=WORDS_CAP, reuse=run.policy.reuse.enabled)


def plan_run_cache(
    policy: Policy, model: ModelSpec, prices: Prices, *, prefix_tokens: int, requests: int, of_all: int, mode: str
) -> CachePlan:
    """The plan for the prefix that so many of all a run's requests share, at the model's own prices."""
    return plan_cache(
        policy.caching,
        model,
        prefix_tokens=prefix_tokens,
        expected_requests=requests,
        spacing_s=expected_spacing_s(requests=requests, of_all=of_all, concurrency=policy.calls.concurrency, mode=mode),
        prices=cache_prices(partial(prices.usd, model.ref), model.billed_tokens(prefix_tokens)),
    )


def limits_on(
    schema: ExtractionSchema,
    policy: Policy,
    model: ModelSpec,
    prices: Prices,
    *,
    prefix_tokens: int,
    tier: str,
    learned: Learned,
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
        learned=learned.answers_of(model.ref),
        saved_tokens=request_in_output_tokens(policy.caching, model, usd, prefix_tokens=prefix_tokens),
    )


def pack_blocks(run: Run, shard: Shard, *, packs: PackStore, models: Models, prices: Prices, now: datetime) -> int:
    """Puts every kept block that is in no pack yet into one; how many packs were added."""
    routes = RouteTable(run.policy.routing, run.schema, mode=run.mode)
    by_route: dict[Route, list[KeptBlock]] = {}
    for block in packs.kept_blocks(shard):
        route = routes.route(block_type=block.type, n_tokens=block.packable.tokens, language=block.language)
        by_route.setdefault(route, []).append(block)
    planned = []
    for route, blocks in by_route.items():
        model = models.spec(route.model)
        limits = limits_on(
            run.schema,
            run.policy,
            model,
            prices,
            prefix_tokens=run.prompt_tokens,
            tier=route.tier,
            learned=run.learned,
        )
        packables = (b.packable for b in blocks)
        planned += [(route, limits, p) for p in plan_packs(packables, limits, run.policy.packing, model)]
    # A prefix is one per model; the run's other shards will ask about as often as this one.
    requests: dict[str, int] = {}
    for route, _, _ in planned:
        requests[str(route.model)] = requests.get(str(route.model), 0) + run.n_shards

    plans = {
        str(ref): plan_run_cache(
            run.policy,
            models.spec(ref),
            prices,
            prefix_tokens=run.prompt_tokens,
            requests=requests[str(ref)],
            of_all=sum(requests.values()),
            mode=run.mode,
        )
        for ref in {route.model for route, _, _ in planned}
    }

    def new_packs() -> list[NewPack]:
        new = []
        for route, limits, pack in planned:
            cache = plans[str(route.model)]
            new.append(
                NewPack(
                    planned=pack,
                    route=route,
                    cache_ttl=cache.ttl,
                    cache_reason=cache.reason,
                    limits=limits,
                    attempts=(0,) * len(pack.blocks),
                )
            )
        return new

    return packs.add(shard, iter(new_packs()), now=now)
