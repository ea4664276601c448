"""Sharing: what requests that begin with one prefix keep of it, and what that costs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from tokenopt_pipeline.domain.batch_policy import LEAST_HIT_SHARE, hit_share, primes
from tokenopt_pipeline.domain.caching import MARKED, CachePlan, cache_prices, expected_spacing_s, plan_cache
from tokenopt_pipeline.domain.conversations import expected_conversation
from tokenopt_pipeline.domain.forecasts import Keeping
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.retrieval import shared_usd
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Prices
from tokenopt_pipeline.stages.contexts import PrefixCosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The requests that begin with one prefix."""

    requests: int
    #: Requests of the run, to whatever model.
    of_all: int
    mode: str


def plan_run_cache(
    policy: Policy, model: ModelSpec, prices: Prices, sharing: Sharing, *, prefix_tokens: int
) -> CachePlan:
    """The plan for a shared prefix, at the model's own prices."""
    mode, provider, converses = sharing.mode, model.ref.provider, policy.bridge.enabled
    plan = plan_cache(
        policy.caching,
        model,
        prefix_tokens=prefix_tokens,
        expected_requests=sharing.requests,
        spacing_s=expected_spacing_s(
            requests=sharing.requests, of_all=sharing.of_all, concurrency=policy.calls.concurrency, mode=mode
        ),
        prices=cache_prices(partial(prices.usd, model.ref), model.billed_tokens(prefix_tokens)),
        hit_share=hit_share(policy.batches, provider, mode=mode, converses=converses),
    )
    if mode != "async" or plan.ttl not in MARKED or not primes(policy.batches, provider, converses=converses):
        return plan
    return replace(
        plan, reason=f"{plan.reason} One request goes first in a batch of its own, so that the others find it."
    )


def keeping_of(policy: Policy, model: ModelSpec, plan: CachePlan, *, mode: str) -> Keeping:
    """How often requests are expected to find what the plan keeps."""
    if mode != "async" or plan.ttl not in MARKED:
        return Keeping(ttl=plan.ttl)
    share = hit_share(policy.batches, model.ref.provider, mode=mode, converses=policy.bridge.enabled)
    return Keeping(ttl=plan.ttl, share=share, low_share=min(share, LEAST_HIT_SHARE))


def talk_of(
    policy: Policy, model: ModelSpec, plan: CachePlan, *, mode: str, shared_tokens: int
) -> Callable[[TokenUsage], TokenUsage]:
    """From what a plain call is billed to a conversation with one round of tools; `shared_tokens`: billed, before the blocks.

    Asked one by one, turns read all of the turn before; in batches only what all requests share, if that is kept.
    """

    def talk(call: TokenUsage) -> TokenUsage:
        is_long = plan.ttl is not None or call.input_total >= model.cache_minimum_tokens
        keeps_turns = mode == "sync" and policy.caching.enabled and not model.caches_by_itself and is_long
        return expected_conversation(
            call,
            found_tokens=call.input_total if keeps_turns else shared_tokens if plan.ttl is not None else 0,
            keeps_turns=keeps_turns,
            results_tokens=model.billed_tokens(policy.retrieval.budget_tokens),
        )

    return talk


def prefix_costs(policy: Policy, model: ModelSpec, prices: Prices, sharing: Sharing) -> PrefixCosts:
    """What requests that share a prefix cost before their blocks."""

    def shared(tokens: int) -> Decimal | None:
        plan = plan_run_cache(policy, model, prices, sharing, prefix_tokens=tokens)
        return shared_usd(usd, model.billed_tokens(tokens), calls=sharing.requests, ttl=plan.ttl)

    usd = partial(prices.usd, model.ref)
    return PrefixCosts(shared=shared, usd=usd)
