"""Moves: why a pack exists, what it asks, and which model of a tier is asked first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from tokenopt_pipeline.domain.fallbacks import FallbackStep, Obstacle, next_model
from tokenopt_pipeline.domain.routing import Route, RoutingPolicy, RoutingRule, parse_model_ref


class Asks(StrEnum):
    """What a pack asks."""

    ANSWER = "answer"  # the run's schema
    SECOND_OPINION = "second_opinion"  # the same, of a second cheap model, so that answers can disagree
    CLASSIFICATION = "classification"  # whether a block is simple or complex


class Cause(StrEnum):
    """Why a pack exists."""

    PLANNED = "planned"
    SPLIT = "split"  # part of a pack whose answer was unusable
    FALLBACK = "fallback"  # the model before could not answer
    ESCALATION = "escalation"  # the answer before was doubted
    SECOND_OPINION = "second_opinion"  # the answer before is compared
    CLASSIFIED = "classified"  # a first pass said how hard the blocks are


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a pack comes from."""

    #: The tier where its blocks' route began; escalation goes so many steps from there.
    first_tier: str
    asks: Asks = Asks.ANSWER
    cause: Cause = Cause.PLANNED
    #: Models away from the one that the tier prefers.
    hops: int = 0
    #: Why the model before could not answer; only where this pack was moved because of it.
    obstacle: Obstacle | None = None

    def split(self) -> Origin:
        """The origin of a part of the pack."""
        return replace(self, cause=Cause.SPLIT, obstacle=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Blocks are asked somewhere else."""

    route: Route
    origin: Origin


#: Why a model cannot be asked at all; None when it can.
Hindered = Callable[[str], Obstacle | None]


def rule_of(policy: RoutingPolicy, rule_id: str) -> RoutingRule | None:
    """The rule of this id; None for `default`."""
    return next((rule for rule in policy.rules if rule.id == rule_id), None)


def opening(policy: RoutingPolicy, route: Route, hindered: Hindered) -> Move:
    """How the story of a block with this route begins: with a first pass where its rule has two, and at the first model of
    the tier that can be asked. Where none can, at the preferred one, which then says so itself."""
    rule = rule_of(policy, route.rule_id)
    if rule is not None and rule.two_pass is not None:
        tier, asks = rule.two_pass.classifier, Asks.CLASSIFICATION
        model = policy.preferred(tier)
        route = replace(
            route, tier=tier, model=model, reason=f"{route.reason} This is the first pass, asked of {model}."
        )
    else:
        tier, asks = route.tier, Asks.ANSWER
    return usable(policy, Move(route=route, origin=Origin(first_tier=tier, asks=asks)), hindered)


def usable(policy: RoutingPolicy, move: Move, hindered: Hindered) -> Move:
    """The move, to the first model of its tier that can be asked; as it is where none can."""
    preferred = str(move.route.model)
    obstacle = hindered(preferred)
    if obstacle is None:
        return move
    step = fallback(policy, move.route, obstacle, hindered)
    if step.model is None:
        return move
    return Move(
        route=replace(move.route, model=parse_model_ref(step.model), reason=f"{move.route.reason} {step.reason}"),
        origin=replace(move.origin, hops=step.hops, obstacle=obstacle),
    )


def fallback(policy: RoutingPolicy, route: Route, obstacle: Obstacle, hindered: Hindered) -> FallbackStep:
    """The step after the route's model met the obstacle: the next model of the tier that can be asked, within hops and walls.

    A second opinion stands outside the tier's list and has no fallback.
    """
    models = policy.models[route.tier]
    failed = str(route.model)
    if failed not in models:
        return FallbackStep(model=None, hops=0, reason=f"{failed} is {obstacle}, and it stands in for no other model.")
    reasons = []
    while True:
        step = next_model(policy.fallback, models, failed=failed, obstacle=obstacle)
        reasons.append(step.reason)
        next_obstacle = None if step.model is None else hindered(step.model)
        if step.model is None or next_obstacle is None:
            return replace(step, reason=" ".join(reasons))
        failed, obstacle = step.model, next_obstacle


def to_tier(
    policy: RoutingPolicy, route: Route, origin: Origin, *, tier: str, cause: Cause, reason: str, hindered: Hindered
) -> Move:
    """A move of blocks to the first model of a tier that can be asked, for an answer."""
    first_tier = tier if cause is Cause.CLASSIFIED else origin.first_tier
    model = policy.preferred(tier)
    moved = Route(
        tier=tier, model=model, mode=route.mode, rule_id=route.rule_id, reason=f"{reason}; {model} is preferred there."
    )
    return usable(policy, Move(route=moved, origin=Origin(first_tier=first_tier, cause=cause)), hindered)


def to_fallback(route: Route, origin: Origin, *, step: FallbackStep, obstacle: Obstacle) -> Move | None:
    """A move to the step's model, asked the same; None when the step names none."""
    if step.model is None:
        return None
    return Move(
        route=replace(route, model=parse_model_ref(step.model), reason=step.reason),
        origin=replace(origin, cause=Cause.FALLBACK, hops=step.hops, obstacle=obstacle),
    )


def to_second_opinion(route: Route, origin: Origin, *, model: str) -> Move:
    """A move to the model that policy asks as well."""
    return Move(
        route=replace(
            route,
            model=parse_model_ref(model),
            reason=f"The policy asks {model} too, so that two cheap answers can disagree; {route.model} answered before.",
        ),
        origin=replace(origin, asks=Asks.SECOND_OPINION, cause=Cause.SECOND_OPINION, hops=0, obstacle=None),
    )
