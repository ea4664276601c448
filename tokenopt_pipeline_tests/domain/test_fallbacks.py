"""The next declared model is asked, at most so many hops away and never across a wall; and it is said why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.fallbacks import FallbackPolicy, Obstacle, next_model
from tokenopt_pipeline_tests.domain.generated import examples

_MODELS = ("a/one", "a/two", "b/three", "c/four")


@pytest.mark.parametrize(
    ("policy", "chain"),
    [
        pytest.param(FallbackPolicy(), ("a/two", "b/three"), id="two hops"),
        pytest.param(FallbackPolicy(max_hops=0), (), id="none"),
        pytest.param(FallbackPolicy(cross_provider=False), ("a/two",), id="one provider"),
        pytest.param(FallbackPolicy(allowed_providers=("c",)), ("c/four",), id="allowed ones"),
        pytest.param(FallbackPolicy(allowed_providers=("c",), cross_provider=False), (), id="both walls"),
    ],
)
def test_the_chain_keeps_the_declared_order_within_hops_and_walls(
    policy: FallbackPolicy, chain: tuple[str, ...]
) -> None:
    assert policy.chain(_MODELS) == chain


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_step_names_model_obstacle_and_hop(obstacle: Obstacle) -> None:
    step = next_model(FallbackPolicy(), _MODELS, failed="a/two", obstacle=obstacle)
    assert (step.model, step.hops) == ("b/three", 2)
    assert step.reason.startswith("a/two is ")
    assert step.reason.endswith("so b/three is asked, hop 2 of at most 2.")


@pytest.mark.parametrize(
    ("policy", "models", "failed", "why"),
    [
        (FallbackPolicy(), ("a/one",), "a/one", "names no other model"),
        (FallbackPolicy(max_hops=1), _MODELS, "a/two", "1 hops are used"),
        (FallbackPolicy(cross_provider=False), _MODELS, "a/two", "b/three: the policy forbids to cross from a to b"),
        (FallbackPolicy(allowed_providers=("a",)), _MODELS, "a/two", "provider b is not among the allowed ones: a"),
        (
            FallbackPolicy(allowed_providers=("a",), max_hops=5),
            ("a/one", "a/two"),
            "a/two",
            "no further model is allowed.",
        ),
        (FallbackPolicy(allowed_providers=("a",)), _MODELS, "b/three", "not among the allowed"),
    ],
)
def test_the_end_of_a_chain_is_told_with_its_reason(
    policy: FallbackPolicy, models: tuple[str, ...], failed: str, why: str
) -> None:
    step = next_model(policy, models, failed=failed, obstacle=Obstacle.UNAVAILABLE)
    assert step.model is None
    assert why in step.reason


def test_a_model_of_another_tier_cannot_have_failed() -> None:
    with pytest.raises(ValueError, match="x/y is not among"):
        next_model(FallbackPolicy(), _MODELS, failed="x/y", obstacle=Obstacle.REFUSED)


@examples(80)
@given(
    st.lists(st.sampled_from([f"{p}/{m}" for p in "abc" for m in "xyz"]), min_size=1, unique=True),
    st.builds(
        FallbackPolicy,
        max_hops=st.integers(0, 5),
        allowed_providers=st.none() | st.lists(st.sampled_from("abc"), min_size=1).map(tuple),
        cross_provider=st.booleans(),
    ),
)
def test_following_the_steps_asks_each_model_once_and_ends_within_the_walls(
    models: list[str], policy: FallbackPolicy
) -> None:
    asked = [models[0]]
    while (step := next_model(policy, models, failed=asked[-1], obstacle=Obstacle.UNAVAILABLE)).model is not None:
        assert step.hops == len(asked)
        asked.append(step.model)
    assert tuple(asked[1:]) == policy.chain(models)
    assert len(set(asked)) == len(asked) <= policy.max_hops + 1
    assert all(policy.barrier(models[0], ref) is None for ref in asked[1:])
