"""A pack knows why it exists; a block's story begins, and goes on, at the first model of a tier that can be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.fallbacks import FallbackPolicy, Obstacle
from tokenopt_pipeline.domain.moves import (
    Asks,
    Cause,
    Origin,
    fallback,
    opening,
    rule_of,
    to_fallback,
    to_second_opinion,
    to_tier,
)
from tokenopt_pipeline.domain.routing import RoutingPolicy, RoutingRule, TwoPass
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.factories import a_route

_MODELS = {"small": ("a/small", "a/other", "b/third"), "mid": ("a/mid", "b/mid"), "large": ("a/large",)}
_TWO = RoutingRule(id="two", tier="mid", two_pass=TwoPass())
_POLICY = RoutingPolicy(models=_MODELS, rules=(_TWO,))


def free(_: str) -> None:
    """Every model can be asked."""


def without(*models: str) -> dict[str, Obstacle]:
    return dict.fromkeys(models, Obstacle.UNPRICED)


def test_a_rule_is_found_by_its_id() -> None:
    assert rule_of(_POLICY, "two") == _TWO
    assert rule_of(_POLICY, "default") is None


def test_a_story_begins_where_the_route_leads() -> None:
    begun = opening(_POLICY, a_route(), free)
    assert begun.route == a_route()
    assert begun.origin == Origin(first_tier="small")


def test_a_two_pass_rule_begins_with_its_classifier() -> None:
    begun = opening(_POLICY, a_route("mid", rule_id="two"), free)
    assert (begun.route.tier, str(begun.route.model), begun.origin.asks) == ("small", "a/small", Asks.CLASSIFICATION)
    assert "first pass, asked of a/small" in begun.route.reason


def test_a_model_that_cannot_be_asked_is_passed_over_and_it_is_said_why() -> None:
    begun = opening(_POLICY, a_route(), without("a/small").get)
    assert str(begun.route.model) == "a/other"
    assert (begun.origin.hops, begun.origin.obstacle, begun.origin.cause) == (1, Obstacle.UNPRICED, Cause.PLANNED)
    assert "a/small is without a known price, so a/other is asked, hop 1 of at most 2." in begun.route.reason


def test_several_models_may_be_passed_over_within_the_hops() -> None:
    begun = opening(_POLICY, a_route(), without("a/small", "a/other").get)
    assert (str(begun.route.model), begun.origin.hops) == ("b/third", 2)
    assert "a/other is without a known price" in begun.route.reason


def test_where_no_model_can_be_asked_the_preferred_one_stays() -> None:
    begun = opening(_POLICY, a_route(), without("a/small", "a/other", "b/third").get)
    assert (str(begun.route.model), begun.origin.hops, begun.origin.obstacle) == ("a/small", 0, None)


def test_a_second_opinion_has_no_fallback() -> None:
    step = fallback(_POLICY, replace(a_route(), model=a_route("odd").model), Obstacle.REFUSED, free)
    assert step.model is None
    assert step.reason == "a/odd is refused, and it stands in for no other model."


def test_a_fallback_asks_the_same_of_the_next_model() -> None:
    origin = Origin(first_tier="small", asks=Asks.CLASSIFICATION, cause=Cause.PLANNED)
    step = fallback(_POLICY, a_route(), Obstacle.UNAVAILABLE, free)
    move = to_fallback(a_route(), origin, step=step, obstacle=Obstacle.UNAVAILABLE)
    assert move is not None
    assert str(move.route.model) == "a/other"
    assert move.origin == replace(origin, cause=Cause.FALLBACK, hops=1, obstacle=Obstacle.UNAVAILABLE)
    assert move.route.reason == step.reason


def test_without_a_next_model_there_is_no_move() -> None:
    step = fallback(_POLICY, a_route("large"), Obstacle.REFUSED, free)
    assert to_fallback(a_route("large"), Origin(first_tier="large"), step=step, obstacle=Obstacle.REFUSED) is None


@pytest.mark.parametrize(("cause", "first"), [(Cause.ESCALATION, "small"), (Cause.CLASSIFIED, "mid")])
def test_a_move_to_a_tier_counts_escalation_from_where_the_answering_began(cause: Cause, first: str) -> None:
    move = to_tier(
        _POLICY,
        a_route(),
        Origin(first_tier="small", hops=2),
        tier="mid",
        cause=cause,
        reason="They go to tier mid",
        hindered=without("a/mid").get,
    )
    assert (move.route.tier, str(move.route.model)) == ("mid", "b/mid")
    assert (move.origin.first_tier, move.origin.cause, move.origin.asks) == (first, cause, Asks.ANSWER)
    assert (move.origin.hops, move.origin.obstacle) == (1, Obstacle.UNPRICED)


def test_a_second_opinion_names_both_models() -> None:
    move = to_second_opinion(a_route(), Origin(first_tier="small", hops=1, obstacle=Obstacle.REFUSED), model="b/second")
    assert (str(move.route.model), move.route.tier) == ("b/second", "small")
    assert (move.origin.asks, move.origin.cause) == (Asks.SECOND_OPINION, Cause.SECOND_OPINION)
    assert (move.origin.hops, move.origin.obstacle) == (0, None)
    assert "b/second" in move.route.reason
    assert "a/small" in move.route.reason


def test_a_part_of_a_moved_pack_was_not_moved_itself() -> None:
    origin = Origin(first_tier="small", cause=Cause.FALLBACK, hops=1, obstacle=Obstacle.REFUSED)
    assert origin.split() == Origin(first_tier="small", cause=Cause.SPLIT, hops=1)


@given(
    n=st.integers(1, 6),
    hops=st.integers(0, 5),
    bad=st.sets(st.integers(0, 5)),
    cross=st.booleans(),
    providers=st.lists(st.sampled_from("ab"), min_size=6, max_size=6),
)
@examples(200)
def test_the_model_asked_is_the_first_allowed_one_that_can_be_and_never_too_far(
    n: int, hops: int, bad: set[int], cross: bool, providers: list[str]
) -> None:
    models = tuple(f"{providers[i]}/m{i}" for i in range(n))
    policy = RoutingPolicy(
        models={**_MODELS, "small": models}, fallback=FallbackPolicy(max_hops=hops, cross_provider=cross)
    )
    hindered = without(*(models[i] for i in bad if i < n))
    begun = opening(policy, a_route(model=policy.preferred("small")), hindered.get)
    allowed = [models[0], *(m for m in models[1:] if cross or m[0] == models[0][0])][: hops + 1]
    able = [m for m in allowed if m not in hindered]
    assert str(begun.route.model) == (able[0] if able else models[0])
    assert begun.origin.hops == (allowed.index(able[0]) if able else 0) <= hops
