"""Modes: whether packs go in batches or are asked one by one, decided once per model of a shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from tokenopt_pipeline.domain.asking import asked_of
from tokenopt_pipeline.domain.batch_policy import Mode, choose_mode
from tokenopt_pipeline.domain.forecasts import Load, scaled, usage_of
from tokenopt_pipeline.domain.knowledge import NO_CONTEXT, CarriedContext
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks, Move
from tokenopt_pipeline.domain.packing import PackLimits, PlannedPack
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.ports import Models, Prices
from tokenopt_pipeline.stages.contexts import Contexts, PrefixCosts
from tokenopt_pipeline.stages.sharing import Sharing, keeping_of, plan_run_cache, prefix_costs, talk_of

#: What a pack to the model is expected to carry of references, behind a prompt of so many tokens of our tokenizer.
Carries = Callable[[ModelSpec, int, PrefixCosts], CarriedContext]


@dataclass(slots=True, kw_only=True)
class Likes:
    """Packs of a run that one model is asked the same."""

    asks: Asks
    #: Of system prompt and output schema, by our tokenizer.
    prompt_tokens: int
    packs: int = 0
    #: Of all their blocks, and of all their answers as expected.
    line_tokens: int = 0
    output_tokens: float = 0.0

    def add(self, pack: PlannedPack) -> None:
        """Counts one more."""
        self.packs += 1
        self.line_tokens += pack.input_tokens
        self.output_tokens += pack.output_tokens

    def times(self, n: int) -> Likes:
        """So often as many."""
        return replace(
            self, packs=self.packs * n, line_tokens=self.line_tokens * n, output_tokens=self.output_tokens * n
        )


def likes_of(load: Load, asks: Asks, *, prompt_tokens: int) -> Likes:
    """The packs of a load."""
    return Likes(
        asks=asks,
        prompt_tokens=prompt_tokens,
        packs=load.packs,
        line_tokens=load.line_tokens,
        output_tokens=load.answers.expected,
    )


def mode_for(
    policy: Policy,
    model: ModelSpec,
    *,
    asked: str,
    likes: Sequence[Likes],
    of_all: int,
    prices: Prices,
    carries: Carries,
) -> Mode:
    """The mode of all packs of a run that go to this model, of so many packs of the run."""

    def usd(mode: str) -> Decimal | None:
        if asked != "auto":
            return None
        return _usd(mode, policy, model, likes=likes, of_all=of_all, prices=prices, carries=carries)

    return choose_mode(
        policy.batches,
        asked=asked,
        provider=model.ref.provider,
        packs=sum(each.packs for each in likes),
        usd_sync=usd("sync"),
        usd_batch=usd("async"),
        converses=policy.bridge.enabled,
    )


def _usd(
    mode: str,
    policy: Policy,
    model: ModelSpec,
    *,
    likes: Iterable[Likes],
    of_all: int,
    prices: Prices,
    carries: Carries,
) -> Decimal | None:
    """Dollars that the packs are expected to cost, their shared prefixes kept as that mode allows; None without a price.

    Half the price is not half the bill: a batch that nobody primes finds no prefix, where calls read it for a tenth.
    """
    billed = prices.in_batches(policy.batches.price_share) if mode == "async" else prices
    total = Decimal(0)
    for each in likes:
        is_first_pass = each.asks is Asks.CLASSIFICATION
        sharing = Sharing(requests=each.packs, of_all=of_all, mode=mode)
        costs = prefix_costs(policy, model, billed, sharing)
        context = NO_CONTEXT if is_first_pass else carries(model, each.prompt_tokens, costs)
        plan = plan_run_cache(policy, model, billed, sharing, prefix_tokens=each.prompt_tokens + context.prefix_tokens)
        shared = model.billed_tokens(each.prompt_tokens + context.prefix_tokens) + model.request_overhead_tokens
        beside = model.billed_tokens(context.tokens - context.prefix_tokens)
        usage = usage_of(
            each.packs,
            shared,
            each.line_tokens + each.packs * beside,
            round(each.output_tokens),
            keeping_of(policy, model, plan, mode=mode),
        )
        call = scaled(usage, 1 / each.packs)
        if policy.bridge.enabled and not is_first_pass:
            call = talk_of(policy, model, plan, mode=mode, shared_tokens=shared)(call)
        usd = costs.usd(call)
        if usd is None:
            return None
        total += each.packs * usd
    return total


def with_modes(
    run: Run,
    planned: Sequence[tuple[Move, PackLimits, PlannedPack]],
    *,
    models: Models,
    prices: Prices,
    contexts: Contexts,
) -> list[tuple[Move, PackLimits, PlannedPack]]:
    """The packs with their mode, and the reason for it behind the route's own.

    A run's other shards send about as many packs to a model as this one.
    """
    likes: dict[str, dict[Asks, Likes]] = {}
    for move, _, pack in planned:
        asks = move.origin.asks
        of_model = likes.setdefault(str(move.route.model), {})
        of_model.setdefault(asks, Likes(asks=asks, prompt_tokens=asked_of(run, asks).prompt_tokens)).add(pack)
    modes: dict[str, Mode] = {}
    result = []
    for move, limits, pack in planned:
        route = move.route
        name = str(route.model)
        if name not in modes:
            modes[name] = mode_for(
                run.policy,
                models.spec(route.model),
                asked=run.mode,
                likes=[each.times(run.n_shards) for each in likes[name].values()],
                of_all=len(planned) * run.n_shards,
                prices=prices,
                carries=partial(contexts.expected, run),
            )
        mode = modes[name]
        route = replace(route, mode=mode.name, reason=f"{route.reason} {mode.reason}")
        result.append((replace(move, route=route), limits, pack))
    return result
