"""Afford: where a run's rules would pass its budget, tiers are chosen by marginal value from the fitted table instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from tokenopt_pipeline.domain.encoding import answer_form
from tokenopt_pipeline.domain.moves import Hindered, Move, Origin, usable
from tokenopt_pipeline.domain.packing import PackableBlock
from tokenopt_pipeline.domain.routing import Route, RoutingPolicy, RoutingRule, schema_facts
from tokenopt_pipeline.domain.tier_choices import Cell, cells_of, whole_cells_within
from tokenopt_pipeline.domain.tiers import TIERS
from tokenopt_pipeline.ports import AnswerValidators, Models, PlanningStore, Prices, Tokenizer
from tokenopt_pipeline.stages.plan import RunRequest, prompt_tokens
from tokenopt_pipeline.stages.predict import predict_run, usd_of_blocks
from tokenopt_pipeline.stages.prepare import unpriced
from tokenopt_pipeline.stages.sort_out import sort_out

# Of no answer.
_NO_RECIPE = "0" * 64
#: What ids of rules that a budget made begin with.
PREFIX = "within-budget-"


def within_budget(
    request: RunRequest,
    *,
    planning: PlanningStore,
    models: Models,
    prices: Prices,
    validators: AnswerValidators,
    tokenizer: Tokenizer,
) -> RunRequest:
    """The request with tiers that its budget allows; unchanged without a budget or a fitted table, and where its rules fit.

    One rule per block type that was measured goes before the others. The tier is the best that the budget buys: all begin
    with their cheapest, then dollars go where one is worth most (`domain.tier_choices`). Blocks of types that nobody
    measured keep their rules, and their cost is set aside. Same request, same choice. Raises InvalidInput.
    """
    policy = request.resolved.policy
    budget, measured = policy.run.budget_usd, policy.routing.measured
    if budget is None or measured is None:
        return request
    predicted = predict_run(
        request, planning=planning, models=models, prices=prices, validators=validators, tokenizer=tokenizer
    )
    if predicted.usd is None or predicted.usd <= budget:
        return request
    prompt = prompt_tokens(answer_form(request.schema, policy.packing.output_form), tokenizer)
    schema = schema_facts(request.schema)
    # Other rules are another recipe, under which no answer is known yet.
    blocks = sort_out(request, planning, _NO_RECIPE).by_kind
    hindered = unpriced(policy, prices)
    tiers = {
        tier: model.route.model
        for tier in TIERS
        if hindered(str((model := _first(policy.routing, tier, hindered)).route.model)) is None
    }
    cells: list[Cell] = []
    set_aside = Decimal(0)

    def usd(tier: str, some: Sequence[PackableBlock]) -> Decimal | None:
        return usd_of_blocks(request, models.spec(tiers[tier]), some, prices=prices, prompt_tokens=prompt)

    for block_type in sorted({kind for kind, _ in blocks}):
        of_type = {tier: some for (kind, tier), some in blocks.items() if kind == block_type}
        every = [block for some in of_type.values() for block in some]
        costs = {tier: cost / len(every) for tier in tiers if (cost := usd(tier, every)) is not None}
        found, unknown = cells_of(
            measured, {(schema.task, block_type): len(every)}, usd=costs, complexity=schema.complexity
        )
        cells += found
        if unknown:
            set_aside += sum((usd(tier, some) or Decimal(0) for tier, some in of_type.items()), Decimal(0))
    chosen = whole_cells_within(cells, max(budget - set_aside, Decimal(0)))
    kinds = {name: name.rpartition("/")[2] for name in chosen}
    rules = [
        RoutingRule(id=f"{PREFIX}{kinds[name]}", tier=option.name, tasks=(schema.task,), block_types=(kinds[name],))
        for name, option in chosen.items()
    ]
    others = [rule for rule in policy.routing.rules if not rule.id.startswith(PREFIX)]
    routing = replace(policy.routing, rules=(*rules, *others))
    return replace(
        request,
        resolved=replace(request.resolved, policy=replace(policy, routing=routing)),
        requested=request.requested or policy,
    )


def _first(routing: RoutingPolicy, tier: str, hindered: Hindered) -> Move:
    """The move to the tier's first model that can be asked."""
    nowhere = Route(tier=tier, model=routing.preferred(tier), mode="sync", rule_id="default", reason="")
    return usable(routing, Move(route=nowhere, origin=Origin(first_tier=tier)), hindered)


def tiers_within_budget(request: RunRequest) -> dict[str, str]:
    """Block type -> the tier that the budget chose for it; empty where it chose none."""
    rules = request.resolved.policy.routing.rules
    return {rule.id.removeprefix(PREFIX): rule.tier for rule in rules if rule.id.startswith(PREFIX)}
