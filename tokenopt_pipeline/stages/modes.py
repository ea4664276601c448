"""Modes: whether packs go in batches or are asked one by one, decided once per model of a shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tokenopt_pipeline.domain.batch_policy import Mode, choose_mode
from tokenopt_pipeline.domain.moves import Move
from tokenopt_pipeline.domain.packing import PackLimits, PlannedPack
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.ports import Prices

# A call of the usual shape, to compare what it costs in both ways.
_USUAL = TokenUsage(input_uncached=2_000, output=1_000)


def mode_for(policy: Policy, ref: ModelRef, *, asked: str, packs: int, prices: Prices) -> Mode:
    """The mode of so many packs of a run that go to this model."""
    return choose_mode(
        policy.batches,
        asked=asked,
        provider=ref.provider,
        packs=packs,
        usd_sync=prices.usd(ref, _USUAL),
        usd_batch=prices.in_batches(policy.batches.price_share).usd(ref, _USUAL),
        converses=policy.bridge.enabled,
    )


def with_modes(
    run: Run, planned: Sequence[tuple[Move, PackLimits, PlannedPack]], *, prices: Prices
) -> list[tuple[Move, PackLimits, PlannedPack]]:
    """The packs with their mode, and the reason for it behind the route's own.

    A run's other shards send about as many packs to a model as this one.
    """
    counts = Counter(str(move.route.model) for move, _, _ in planned)
    modes: dict[str, Mode] = {}
    result = []
    for move, limits, pack in planned:
        route = move.route
        name = str(route.model)
        if name not in modes:
            modes[name] = mode_for(
                run.policy, route.model, asked=run.mode, packs=counts[name] * run.n_shards, prices=prices
            )
        mode = modes[name]
        route = replace(route, mode=mode.name, reason=f"{route.reason} {mode.reason}")
        result.append((replace(move, route=route), limits, pack))
    return result
