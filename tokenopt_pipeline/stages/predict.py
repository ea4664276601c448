"""Predict: what a run would ask and cost, before anything is spent or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import islice

from tokenopt_pipeline.domain.encoding import answer_form
from tokenopt_pipeline.domain.forecasts import Forecast, Load, forecast
from tokenopt_pipeline.domain.learning import NOTHING_LEARNED, Learned
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packing import PackableBlock, PackLimits, plan_packs
from tokenopt_pipeline.domain.packs import PlannableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision, Verdict, decide, skip_rules
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import Route, RouteTable, default_model
from tokenopt_pipeline.domain.usage import TokenUsage, naive_usage
from tokenopt_pipeline.ports import AnswerValidators, Models, PlanningStore, Prices, Tokenizer
from tokenopt_pipeline.stages.plan import RunRequest, check_askable, prompt_tokens, recipe_of
from tokenopt_pipeline.stages.prepare import limits_on, plan_run_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedRoute:
    """What is expected of one tier's model in one mode."""

    tier: str
    model: str
    mode: str
    #: Answers that lengths were learnt from; 0: they are estimated from the schema alone, which is an upper estimate.
    learnt_from: int
    cache_reason: str
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is expected of a run."""

    blocks: int
    kept: int
    #: Why an answer is there already -> blocks.
    reused_by_rule: dict[str, int]
    #: Rule id -> blocks.
    skipped_by_rule: dict[str, int]
    packs: int
    #: Over all routes, in the first mode asked for.
    forecast: Forecast
    usd_baseline: Decimal | None
    #: Every tier's model in every mode asked for.
    routes: tuple[PredictedRoute, ...]

    @property
    def reused(self) -> int:
        """Blocks whose answers are there already, or will be."""
        return sum(self.reused_by_rule.values())

    @property
    def usage(self) -> TokenUsage:
        """Expected tokens."""
        return self.forecast.expected.usage

    @property
    def usd(self) -> Decimal | None:
        """Expected dollars; None when a model has no known price."""
        return self.forecast.expected.usd


def predict_run(
    request: RunRequest,
    *,
    planning: PlanningStore,
    models: Models,
    prices: Prices,
    validators: AnswerValidators,
    tokenizer: Tokenizer,
    learned: Learned = NOTHING_LEARNED,
    in_modes: Mapping[str, Prices] | None = None,
) -> Prediction:
    """The prediction for a request, by the same rules a run would follow, shard by shard. Raises InvalidInput.

    `in_modes`: mode -> its prices, the run's own mode first; None: sync at `prices`.
    """
    check_askable(request, models=models, prices=prices, validators=validators)
    planner = _Planner(
        request=request,
        models=models,
        prices=prices,
        learned=learned,
        prefix_tokens=prompt_tokens(
            answer_form(request.schema, request.resolved.policy.packing.output_form), tokenizer
        ),
    )
    planner.take(planning.blocks(request.collection, answer_recipe=recipe_of(request, models)))
    modes = {"sync": prices} if in_modes is None else in_modes
    routes = tuple(route for mode, listed in modes.items() for route in planner.routes(mode, listed))
    first = next(iter(modes))
    total = sum((route.forecast for route in routes if route.mode == first), Forecast())
    return Prediction(
        blocks=planner.blocks,
        kept=planner.kept,
        reused_by_rule=planner.reused,
        skipped_by_rule=planner.skipped,
        packs=total.expected.calls,
        forecast=total,
        usd_baseline=planner.baseline(),
        routes=routes,
    )


@dataclass(slots=True, kw_only=True)
class _Planner:
    """Packs blocks as a run would and keeps only sums, so that memory does not grow with the collection."""

    request: RunRequest
    models: Models
    prices: Prices
    learned: Learned
    prefix_tokens: int
    blocks: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    reused: dict[str, int] = field(default_factory=dict)
    _tokens: int = 0
    _seen: set[int] = field(default_factory=set)
    _verdicts: dict[BlockFacts, Decision] = field(default_factory=dict)
    _limits: dict[Route, PackLimits] = field(default_factory=dict)
    _loads: dict[tuple[str, str], Load] = field(default_factory=dict)

    def take(self, blocks: Iterator[PlannableBlock]) -> None:
        """All blocks in document order."""
        policy = self.request.resolved.policy
        table = RouteTable(policy.routing, self.request.schema, mode="sync")
        while shard := list(islice(blocks, policy.run.shard_blocks)):
            by_route: dict[Route, list[PackableBlock]] = {}
            for block in self._to_ask(shard):
                route = table.route(block_type=block.facts.type, n_tokens=block.tokens, language=block.language)
                by_route.setdefault(route, []).append(
                    PackableBlock(block_no=self.kept, ordinal=self.kept, tokens=block.tokens, type=block.facts.type)
                )
                self.kept += 1
            for route, packable in by_route.items():
                self._pack(route, packable)

    def _to_ask(self, blocks: Iterable[PlannableBlock]) -> Iterator[PlannableBlock]:
        reuses = self.request.resolved.policy.reuse.enabled
        rules = skip_rules(self.request.resolved.policy.prefilter, self.request.schema)
        for block in blocks:
            self.blocks += 1
            self._tokens += block.tokens
            decision = self._verdicts.get(block.facts)
            if decision is None:
                decision = self._verdicts[block.facts] = decide(rules, block.facts)
            if decision.verdict is Verdict.SKIP:
                self.skipped[decision.rule_id] = self.skipped.get(decision.rule_id, 0) + 1
                continue
            # 64 bits tell millions apart at a tenth of the memory of the text; this is a forecast.
            content = hash(block.content)
            rule = "answered_before" if block.is_known else "same_as_earlier_block" if content in self._seen else None
            if rule is not None and reuses:
                self.reused[rule] = self.reused.get(rule, 0) + 1
                continue
            self._seen.add(content)
            yield block

    def _pack(self, route: Route, blocks: list[PackableBlock]) -> None:
        packing = self.request.resolved.policy.packing
        model = self.models.spec(route.model)
        load = self._loads.get((route.tier, str(route.model)))
        if load is None:
            cliff = price_cliff(partial(self.prices.usd, model.ref), most=model.context_tokens)
            load = self._loads[route.tier, str(route.model)] = Load(model=model, cliff_tokens=cliff)
        limits = self._limits.get(route)
        if limits is None:
            limits = self._limits[route] = limits_on(
                self.request.schema,
                self.request.resolved.policy,
                model,
                self.prices,
                prefix_tokens=self.prefix_tokens,
                tier=route.tier,
                learned=self.learned,
            )
        load.add(plan_packs(blocks, limits, packing, model), prefix_tokens=self.prefix_tokens)

    def routes(self, mode: str, prices: Prices) -> Iterator[PredictedRoute]:
        """The forecast of every tier's model in a mode."""
        policy = self.request.resolved.policy
        of_all = sum(load.packs for load in self._loads.values())
        for (tier, name), load in self._loads.items():
            cache = plan_run_cache(
                policy,
                load.model,
                prices,
                prefix_tokens=self.prefix_tokens,
                requests=sum(other.packs for (_, ref), other in self._loads.items() if ref == name),
                of_all=of_all,
                mode=mode,
            )
            lengths = self.learned.answers_of(load.model.ref)
            yield PredictedRoute(
                tier=tier,
                model=name,
                mode=mode,
                learnt_from=max((length.answers for length in lengths.values()), default=0),
                cache_reason=cache.reason,
                forecast=forecast(
                    load,
                    partial(prices.usd, load.model.ref),
                    prefix_tokens=self.prefix_tokens,
                    ttl=cache.ttl,
                    is_learnt=bool(lengths),
                    overflow_probability=policy.packing.overflow_probability,
                    seen=self.learned.prefixes.get(name),
                ),
            )

    def baseline(self) -> Decimal | None:
        """The same blocks one per call, nothing skipped, cached or packed; None without a price or a block to ask."""
        if not self.kept:
            return None
        model: ModelSpec = self.models.spec(default_model(self.request.resolved.policy.routing))
        answers = sum(load.answers.expected for load in self._loads.values())
        one = naive_usage(
            blocks=1,
            prefix_tokens=model.billed_tokens(self.prefix_tokens) + model.request_overhead_tokens,
            block_tokens=model.billed_tokens(round(self._tokens / self.blocks)),
            answer_tokens=round(answers / self.kept),
        )
        usd = self.prices.usd(model.ref, one)
        return None if usd is None else usd * self.blocks
