"""Fault plans: seeded, scripted, and deterministic."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.faults import Fault, FaultDraw, FaultPlan
from tokenopt_pipeline.sandbox.json_value import Json


def draws(plan: FaultPlan, bodies: int = 300) -> list[Fault | None]:
    draw = FaultDraw(plan)
    return [draw.decide(b"body %d" % number, lambda needle: False) for number in range(bodies)]


def plan(value: Json) -> FaultPlan:
    return FaultPlan.from_json(value)


def test_a_seed_decides_everything() -> None:
    rates: Json = {"malformed": 0.2, "overloaded_529": 0.2}
    assert draws(plan({"seed": 7, "rates": rates})) == draws(plan({"seed": 7, "rates": rates}))
    assert draws(plan({"seed": 7, "rates": rates})) != draws(plan({"seed": 8, "rates": rates}))


def test_the_order_of_keys_changes_nothing() -> None:
    one = plan({"rates": {"malformed": 0.2, "slow": 0.3}})
    assert draws(one) == draws(plan({"rates": {"slow": 0.3, "malformed": 0.2}}))


def test_rates_are_met() -> None:
    found = draws(plan({"rates": {"drop_block": 0.3}}), 2000)
    assert 0.25 < found.count(Fault.DROP_BLOCK) / 2000 < 0.35
    assert set(found) == {Fault.DROP_BLOCK, None}


def test_a_retry_of_the_same_body_can_succeed() -> None:
    draw = FaultDraw(plan({"rates": {"server_error_500": 0.5}}))
    tries = [draw.decide(b"the same", lambda needle: False) for _ in range(40)]
    assert 0 < tries.count(None) < 40


def test_the_nth_request_can_be_spoilt() -> None:
    found = draws(plan({"scripted": [{"nth_request": 2, "fault": "refuse", "times": 2}]}), 5)
    assert found == [None, Fault.REFUSE, Fault.REFUSE, None, None]


def test_a_text_can_be_spoilt_for_ever() -> None:
    draw = FaultDraw(plan({"scripted": [{"when_text_contains": "poison", "fault": "prose", "times": None}]}))
    assert [draw.decide(b"x", lambda needle: needle == "poison") for _ in range(3)] == [Fault.PROSE] * 3
    assert draw.decide(b"x", lambda needle: False) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param({"rates": {"malfromed": 0.1}}, "no fault is called", id="misspelt fault"),
        pytest.param({"rate": {}}, "has no rate", id="misspelt key"),
        pytest.param({"rates": {"slow": 0.6, "prose": 0.6}}, "add up", id="more than every request"),
        pytest.param({"rates": {"slow": -1}}, "between 0 and 1", id="negative rate"),
        pytest.param({"scripted": [{"fault": "slow"}]}, "exactly one", id="no moment"),
        pytest.param({"scripted": [{"fault": "slow", "nth_request": 0}]}, "counts from 1", id="zeroth request"),
        pytest.param([], "must be a JSON object", id="not an object"),
    ],
)
def test_a_plan_that_is_not_understood_is_refused(value: Json, says: str) -> None:
    with pytest.raises(ConfigRefused, match=says):
        plan(value)


def test_remembered_bodies_are_bounded() -> None:
    draw = FaultDraw(FaultPlan(), max_remembered_bodies=10)
    for number in range(50):
        draw.decide(b"%d" % number, lambda needle: False)
    assert len(draw._times_seen) == 10
