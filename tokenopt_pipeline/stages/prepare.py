"""Prepare a shard: enrol its blocks, decide about each, pack and route what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from tokenopt_pipeline.domain.answer_lengths import AnswerLength
from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.caching import (
    CachePlan,
    cache_prices,
    expected_spacing_s,
    plan_cache,
    request_in_output_tokens,
)
from tokenopt_pipeline.domain.fallbacks import Obstacle
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks, Hindered, Move, opening
from tokenopt_pipeline.domain.packing import PackLimits, pack_limits, plan_packs, too_large
from tokenopt_pipeline.domain.packs import KeptBlock, NewPack
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.prefilter import WORDS_CAP, decide, skip_rules
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import Route, RouteTable, parse_model_ref
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Models, PackStore, Prices, ShardStore
from tokenopt_pipeline.stages.modes import with_modes


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


def pack_blocks(run: Run, shard: Shard, *, packs: PackStore, models: Models, prices: Prices, now: datetime) -> int:
    """Puts every kept block that is in no pack yet into one; how many packs were added.

    A block that can never fit into its model's context fails here, before anything is asked.
    """
    routes = RouteTable(run.policy.routing, run.schema, mode=run.mode)
    by_route: dict[Route, list[KeptBlock]] = {}
    hindered = unpriced(run.policy, prices)
    for block in packs.kept_blocks(shard):
        route = routes.route(block_type=block.type, n_tokens=block.packable.tokens, language=block.language)
        by_route.setdefault(route, []).append(block)
    planned = []
    refused: dict[int, str] = {}
    for route, blocks in by_route.items():
        move = opening(run.policy.routing, route, hindered)
        asked, model = asked_of(run, move.origin.asks), models.spec(move.route.model)
        limits = limits_on(
            asked.schema,
            run.policy,
            model,
            prices,
            prefix_tokens=asked.prompt_tokens,
            tier=move.route.tier,
            lengths=asked.lengths(run, model),
        )
        packables = []
        for block in blocks:
            problem = too_large(block.packable, model, prefix_tokens=asked.prompt_tokens)
            if problem is None:
                packables.append(block.packable)
            else:
                refused[block.packable.block_no] = problem
        planned += [(move, limits, p) for p in plan_packs(packables, limits, run.policy.packing, model)]
    if run.mode != "sync":
        planned = with_modes(run, planned, prices=prices)
    # A prefix is one per model and what is asked; the run's other shards will ask about as often as this one.
    requests: dict[tuple[str, Asks], int] = {}
    for move, _, _ in planned:
        requests[_prefix_of(move)] = requests.get(_prefix_of(move), 0) + run.n_shards

    modes = {str(move.route.model): move.route.mode for move, _, _ in planned}
    plans = {
        (name, asks): plan_run_cache(
            run.policy,
            models.spec(parse_model_ref(name)),
            prices,
            prefix_tokens=asked_of(run, asks).prompt_tokens,
            requests=n,
            of_all=sum(requests.values()),
            mode=modes[name],
        )
        for (name, asks), n in requests.items()
    }

    def new_packs() -> list[NewPack]:
        new = []
        for move, limits, pack in planned:
            cache = plans[_prefix_of(move)]
            new.append(
                NewPack(
                    planned=pack,
                    route=move.route,
                    origin=move.origin,
                    cache_ttl=cache.ttl,
                    cache_reason=cache.reason,
                    limits=limits,
                    attempts=(0,) * len(pack.blocks),
                )
            )
        return new

    return packs.add(shard, iter(new_packs()), refused=refused, now=now)


def _prefix_of(move: Move) -> tuple[str, Asks]:
    return str(move.route.model), move.origin.asks
