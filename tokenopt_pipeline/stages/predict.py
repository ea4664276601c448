"""Predict: what a run would ask and cost, before anything is spent or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from itertools import groupby

from tokenopt_pipeline.domain.batch_policy import Mode, primes
from tokenopt_pipeline.domain.batches import supports_batches
from tokenopt_pipeline.domain.caching import MARKED, dearest_usage
from tokenopt_pipeline.domain.classification import classification_schema
from tokenopt_pipeline.domain.conversations import conversation_usd
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.encoding import answer_form
from tokenopt_pipeline.domain.forecasts import Amounts, Forecast, Load, forecast
from tokenopt_pipeline.domain.knowledge import NO_CONTEXT, CarriedContext
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.moves import Asks, Move, Origin
from tokenopt_pipeline.domain.packing import PackableBlock, plan_packs
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.retrieval import ContextKind, search_failed
from tokenopt_pipeline.domain.routing import ModelRef, Route, default_model, parse_model_ref, schema_facts
from tokenopt_pipeline.domain.usage import TokenUsage, naive_usage
from tokenopt_pipeline.ports import AnswerValidators, Models, PlanningStore, Prices, Tokenizer
from tokenopt_pipeline.stages.contexts import Known, PrefixCosts, check_room, expected_context
from tokenopt_pipeline.stages.legs import Leg, legs_of
from tokenopt_pipeline.stages.modes import likes_of, mode_for
from tokenopt_pipeline.stages.plan import (
    RunRequest,
    check_askable,
    classification_tokens,
    prompt_tokens,
    recipe_of,
    run_mode,
)
from tokenopt_pipeline.stages.prediction import PredictedRoute, Prediction
from tokenopt_pipeline.stages.prepare import limits_on, unpriced
from tokenopt_pipeline.stages.room import Room
from tokenopt_pipeline.stages.sharing import Sharing, keeping_of, plan_run_cache, prefix_costs, talk_of
from tokenopt_pipeline.stages.sort_out import SortedOut, sort_out


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
    """The prediction for a request, by the same rules a run would follow, shard by shard. Raises InvalidInput."""
    check_askable(request, models=models, prices=prices, validators=validators)
    request = replace(request, known=_searchable(request, prices))
    policy, schema = request.resolved.policy, request.schema
    prompt = prompt_tokens(answer_form(schema, policy.packing.output_form), tokenizer)
    check_room(request.known.knowledge, policy, models, prompt_tokens=prompt)
    sorted_out = sort_out(request, planning, recipe_of(request, models))
    legs, checks = legs_of(policy.routing, sorted_out.by_route, schema_facts(schema), unpriced(policy, prices))
    planner = _Planner(
        request=request,
        models=models,
        prices=prices,
        learned=learned,
        known=request.known,
        prompts=dict.fromkeys(Asks, prompt) | {Asks.CLASSIFICATION: classification_tokens(request, tokenizer)},
    )
    for leg in legs:
        planner.take(leg)
    routes = tuple(planner.routes())
    queries = _queries(request.known, sorted_out, prices)
    kept = sum(len(routed.blocks) for routed in sorted_out.by_route.values())
    paid = sum((Amounts(usd=bill.usd) for bill in queries.values()), Amounts())
    total = sum((route.forecast for route in routes if route.is_chosen), Forecast(low=paid, expected=paid, high=paid))

    def per_block(ref: ModelRef, blocks: Sequence[PackableBlock]) -> float | None:
        usd = usd_of_blocks(request, models.spec(ref), blocks, prices=prices, prompt_tokens=prompt)
        return None if usd is None else float(usd / len(blocks))

    return Prediction(
        blocks=sorted_out.blocks,
        kept=kept,
        reused_by_rule=sorted_out.reused,
        skipped_by_rule=sorted_out.skipped,
        packs=planner.packs,
        contexts=planner.contexts,
        calls=total.expected.calls,
        usd_bound=planner.bound_usd if policy.bridge.enabled and total.expected.usd is not None else None,
        conversations=planner.conversations,
        usd_reserved=planner.reserved_usd,
        queries=queries,
        modes=planner.modes,
        forecast=total,
        usd_baseline=planner.baseline(sorted_out, kept),
        routes=routes,
        checks=tuple(check.sentence(*(per_block(ref, check.blocks) for ref in check.models)) for check in checks),
        too_large=planner.too_large,
    )


def _searchable(request: RunRequest, prices: Prices) -> Known:
    """What the run is to know; where it has a budget, an embedder without a price is not asked, and packs carry the whole."""
    known = request.known
    for name in known.embedders if request.resolved.policy.run.budget_usd is not None else ():
        if prices.usd(parse_model_ref(name), TokenUsage()) is None:
            problem = f"embedder {name} has no known price, and the run has a budget"
            return replace(known, decided=search_failed(problem), embedders=())
    return known


def _queries(known: Known, blocks: SortedOut, prices: Prices) -> dict[str, EmbeddingBill]:
    """Embedder -> what searching for kept blocks will be billed; words that rules lend to a query come on top."""
    bills: dict[str, EmbeddingBill] = {}
    for name in known.embedders:
        for routed in blocks.by_route.values():
            tokens = sum(block.tokens for block in routed.blocks)
            usd = prices.usd(parse_model_ref(name), TokenUsage(input_uncached=tokens))
            bills[name] = bills.get(name, EmbeddingBill()).plus(tokens, usd, requests=len(routed.blocks))
    return bills


def usd_of_blocks(
    request: RunRequest, model: ModelSpec, blocks: Sequence[PackableBlock], *, prices: Prices, prompt_tokens: int
) -> Decimal | None:
    """Dollars for asking one model about the blocks and nothing else, with what a pack is expected to carry of references.

    `prompt_tokens` is our tokenizer's count of system prompt and output schema. None without a known price.
    """
    planner = _Planner(
        request=request,
        models=_Only(model),
        prices=prices,
        learned=NOTHING_LEARNED,
        known=request.known,
        prompts=dict.fromkeys(Asks, prompt_tokens),
    )
    # Which tier it stands for makes no difference to what one block costs.
    planner.take(Leg(asks=Asks.ANSWER, tier="mid", model=model.ref, blocks=blocks))
    return sum((route.forecast for route in planner.routes(only="sync")), Forecast()).expected.usd


@dataclass(frozen=True, slots=True)
class _Only:
    """`ports.Models` of one model."""

    model: ModelSpec

    def spec(self, ref: ModelRef) -> ModelSpec:
        return self.model


@dataclass(slots=True, kw_only=True)
class _Planner:
    """Packs blocks as a run would, and keeps only sums."""

    request: RunRequest
    models: Models
    prices: Prices
    learned: Learned
    #: What requests carry of references.
    known: Known
    #: What is asked -> our tokenizer's count of its system prompt and output schema.
    prompts: Mapping[Asks, int]
    #: Model -> how its packs are asked, and why.
    modes: dict[str, Mode] = field(default_factory=dict)
    too_large: int = 0
    contexts: dict[str, dict[str, int]] = field(default_factory=dict)
    bound_usd: Decimal = Decimal(0)
    conversations: int = 0
    reserved_usd: dict[str, Decimal] = field(default_factory=dict)
    _loads: dict[tuple[str, ModelRef, Asks], Load] = field(default_factory=dict)

    @property
    def packs(self) -> int:
        """Packs of all loads."""
        return sum(load.packs for load in self._loads.values())

    def _widest(self, asks: Asks) -> int:
        """Tokens before the blocks, with all references whole."""
        return self.prompts[asks] + (0 if asks is Asks.CLASSIFICATION else self.known.knowledge.n_tokens)

    def take(self, leg: Leg) -> None:
        """Blocks that one tier is asked about, in document order, each at the first of its models that has room for it."""
        policy = self.request.resolved.policy
        hindered = unpriced(policy, self.prices)
        room = Room(routing=policy.routing, models=self.models, hindered=hindered, prompts=self.prompts)
        route = Route(tier=leg.tier, model=leg.model, mode="sync", rule_id="default", reason="")
        opened = Move(route=route, origin=Origin(first_tier=leg.tier, asks=leg.asks))
        placed, refused = room.parted(opened, leg.blocks)
        self.too_large += len(refused) if leg.asks is Asks.ANSWER else 0
        for move, blocks in placed.items():
            self._load(leg.asks, leg.tier, move.route.model, blocks)

    def _load(self, asks: Asks, tier: str, ref: ModelRef, blocks: Sequence[PackableBlock]) -> None:
        policy, model, prefix = self.request.resolved.policy, self.models.spec(ref), self._widest(asks)
        is_first_pass = asks is Asks.CLASSIFICATION
        limits = limits_on(
            classification_schema(self.request.schema) if is_first_pass else self.request.schema,
            policy,
            model,
            self.prices,
            prefix_tokens=prefix,
            tier=tier,
            lengths={} if is_first_pass else self.learned.answers_of(ref),
        )
        load = self._loads.get((tier, ref, asks))
        if load is None:
            cliff = price_cliff(partial(self.prices.usd, ref), most=model.context_tokens)
            load = self._loads[tier, ref, asks] = Load(model=model, cliff_tokens=cliff)
        for _, shard in groupby(blocks, key=lambda block: block.ordinal // policy.run.shard_blocks):
            load.add(plan_packs(shard, limits, policy.packing, model), prefix_tokens=prefix)

    def routes(self, *, only: str | None = None) -> Iterator[PredictedRoute]:
        """The forecast of every load: in its mode, and in the other where its provider has it; `only`: in this one."""
        policy = self.request.resolved.policy
        loads = list(self._loads.items())
        for (tier, ref, asks), load in loads:
            alike = [likes_of(o, a, prompt_tokens=self.prompts[a]) for (_, r, a), o in loads if r == ref and o.packs]
            chosen = self.modes[str(ref)] = mode_for(
                policy,
                load.model,
                asked=run_mode(self.request),
                likes=alike,
                of_all=self.packs,
                prices=self.prices,
                carries=partial(expected_context, self.known, policy.retrieval),
            )
            names = ("sync", "async") if supports_batches(ref.provider) else (chosen.name,)
            for name in names if only is None else (only,):
                prices = self.prices.in_batches(policy.batches.price_share) if name == "async" else self.prices
                route = self._route(load, asks, mode=name, prices=prices, is_chosen=name == (only or chosen.name))
                yield replace(route, tier=tier)

    def _route(self, load: Load, asks: Asks, *, mode: str, prices: Prices, is_chosen: bool) -> PredictedRoute:
        policy, model, prompt = self.request.resolved.policy, load.model, self.prompts[asks]
        is_first_pass = asks is Asks.CLASSIFICATION
        requests = sum(o.packs for (_, ref, asked), o in self._loads.items() if (ref, asked) == (model.ref, asks))
        sharing = Sharing(requests=requests, of_all=self.packs, mode=mode)
        costs = prefix_costs(policy, model, self.prices, sharing)
        context = NO_CONTEXT
        if not is_first_pass:
            context = expected_context(self.known, policy.retrieval, model, prompt, costs)
        shared = prompt + context.prefix_tokens
        # Multiples of the plain price are the same in both modes.
        cache = plan_run_cache(policy, model, self.prices, sharing, prefix_tokens=shared)
        billed = model.billed_tokens(shared) + model.request_overhead_tokens
        lengths = {} if is_first_pass else self.learned.answers_of(model.ref)
        keeping = keeping_of(policy, model, cache, mode=mode)
        converses = policy.bridge.enabled and not is_first_pass
        # Tools and references make it another prefix than the one that was learnt.
        is_plain = not (is_first_pass or converses or context.tokens)
        seen = self.learned.prefixes.get(str(model.ref)) if is_plain else None
        told = forecast(
            load,
            partial(prices.usd, model.ref),
            prefix_tokens=shared,
            keeping=keeping,
            is_learnt=bool(lengths),
            overflow_probability=policy.packing.overflow_probability,
            seen=seen,
            beside_tokens=model.billed_tokens(context.tokens - context.prefix_tokens),
            talk=talk_of(policy, model, cache, mode=mode, shared_tokens=billed) if converses else None,
        )
        if is_chosen:
            self._note(load, context)
            if converses and load.packs:
                self._reserve(load, costs, ttl=cache.ttl)
        return PredictedRoute(
            tier="",
            model=str(model.ref),
            asks=asks,
            mode=mode,
            is_chosen=is_chosen,
            learnt_from=max((length.answers for length in lengths.values()), default=0),
            is_primed=mode == "async"
            and cache.ttl in MARKED
            and primes(policy.batches, model.ref.provider, converses=policy.bridge.enabled),
            cache_reason=cache.reason,
            forecast=told,
        )

    def _note(self, load: Load, context: CarriedContext) -> None:
        if context.kind is not ContextKind.NONE:
            causes = self.contexts.setdefault(context.kind, {})
            causes[context.cause] = causes.get(context.cause, 0) + load.packs

    def _reserve(self, load: Load, costs: PrefixCosts, *, ttl: str | None) -> None:
        """What a budget needs room for before a conversation begins: its bounds, and the plain call with everything in it."""
        model, name = load.model, str(load.model.ref)
        shared = model.guarded_tokens(self._widest(Asks.ANSWER)) + model.request_overhead_tokens
        plain = costs.usd(
            dearest_usage(
                ttl,
                input_tokens=shared + round(load.line_tokens / load.packs),
                output_tokens=round(load.max_tokens / load.packs),
            )
        )
        self.conversations += load.packs
        most = conversation_usd(self.request.resolved.policy.bridge, costs.usd, plain)
        if most is not None:
            self.reserved_usd[name] = max(most, self.reserved_usd.get(name, most))
            self.bound_usd += most * load.packs

    def baseline(self, blocks: SortedOut, kept: int) -> Decimal | None:
        """The same blocks one per call, nothing skipped, cached or packed; None without a price or a block to ask."""
        if not kept:
            return None
        model = self.models.spec(default_model(self.request.resolved.policy.routing))
        prefix = self._widest(Asks.ANSWER)
        answered = [load for (_, _, asks), load in self._loads.items() if asks is Asks.ANSWER]
        answers = sum(load.answers.expected for load in answered) / max(sum(load.blocks for load in answered), 1)
        one = naive_usage(
            blocks=1,
            prefix_tokens=model.billed_tokens(prefix) + model.request_overhead_tokens,
            block_tokens=model.billed_tokens(round(blocks.tokens / blocks.blocks)),
            answer_tokens=round(answers),
        )
        usd = self.prices.usd(model.ref, one)
        return None if usd is None else usd * blocks.blocks
