"""Only doubted answers go on to a dearer tier, and what a check is worth follows from measured rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.doubts import Doubt
from tokenopt_pipeline.domain.escalation import CheckRates, EscalationPolicy, escalate, value_of_check
from tokenopt_pipeline_tests.domain.generated import examples

_ON = EscalationPolicy(enabled=True)


def _doubts(*ids: str) -> list[Doubt]:
    return [Doubt(id=i, path="", evidence=f"It is {i}.") for i in ids]


@pytest.mark.parametrize(
    ("policy", "doubts", "tier", "escalate_on", "verdict"),
    [
        pytest.param(_ON, ["schema"], "small", None, "mid", id="a hard doubt"),
        pytest.param(_ON, ["check:total"], "small", None, "mid", id="a check of the schema"),
        pytest.param(_ON, [], "small", None, None, id="no doubt"),
        pytest.param(_ON, ["text_partly_in_text"], "small", None, None, id="a soft doubt"),
        pytest.param(_ON, ["text_partly_in_text"], "small", ["text_partly_in_text"], "mid", id="the rule's list"),
        pytest.param(_ON, ["schema"], "small", [], None, id="the rule's empty list"),
        pytest.param(_ON, ["check:a"], "small", ["check:b"], None, id="another check"),
        pytest.param(_ON, ["schema"], "mid", None, None, id="one step was taken"),
        pytest.param(replace(_ON, max_steps=2), ["schema"], "mid", None, "large", id="a second step"),
        pytest.param(_ON, ["schema"], "large", None, None, id="nothing above"),
        pytest.param(EscalationPolicy(), ["schema"], "small", None, None, id="switched off"),
    ],
)
def test_an_answer_to_a_block_that_began_small_goes_up_when_a_listed_doubt_is_raised(
    policy: EscalationPolicy, doubts: list[str], tier: str, escalate_on: Sequence[str] | None, verdict: str | None
) -> None:
    found = escalate(policy, _doubts(*doubts), first_tier="small", tier=tier, escalate_on=escalate_on)
    assert found.tier == verdict
    assert found.reason.endswith(".")
    if verdict is not None:
        assert found.doubt is not None
        assert found.doubt.evidence in found.reason


def test_a_doubt_that_cannot_escalate_is_still_told() -> None:
    stuck = escalate(_ON, _doubts("schema"), first_tier="small", tier="mid")
    assert "It is schema. The answer stands: tier mid is as far" in stuck.reason
    off = escalate(EscalationPolicy(), _doubts("schema"), first_tier="small", tier="small")
    assert "escalation is off" in off.reason


_RATES = CheckRates(
    n=100,
    p_doubt=0.2,
    p_wrong_doubted=0.8,
    p_wrong_undoubted=0.05,
    p_wrong_next_doubted=0.3,
    p_wrong_next=0.1,
    usd_cheap=0.001,
    usd_next=0.01,
)


def test_the_value_of_a_check_is_the_sum_of_what_it_asks_and_leaves() -> None:
    value = value_of_check(_RATES)
    assert value.usd == pytest.approx(0.001 + 0.2 * 0.01)
    assert value.quality == pytest.approx(1 - 0.8 * 0.05 - 0.2 * 0.3)
    assert value.quality_cheap == pytest.approx(1 - 0.8 * 0.05 - 0.2 * 0.8)
    assert (value.usd_cheap, value.usd_next, value.quality_next) == (0.001, 0.01, 0.9)
    assert (value.saving, value.change) == pytest.approx((0.7, 0.0))


@pytest.mark.parametrize(
    ("rates", "target", "pays"),
    [
        pytest.param(_RATES, 0.0, True, id="as good and cheaper"),
        pytest.param(replace(_RATES, p_wrong_undoubted=0.1), 0.0, False, id="worse"),
        pytest.param(replace(_RATES, p_wrong_undoubted=0.1), -0.05, True, id="worse within the aim"),
        pytest.param(replace(_RATES, p_doubt=0.95), -1.0, False, id="everything is doubted"),
        pytest.param(replace(_RATES, usd_next=0.0), -1.0, False, id="the dearer tier is free"),
    ],
)
def test_a_check_pays_when_it_saves_money_within_the_aim(rates: CheckRates, target: float, pays: bool) -> None:
    value = value_of_check(rates)
    assert value.pays(target) is pays
    assert ("Checking pays" in value.sentence(target)) is pays


_SHARES = st.floats(0, 1)
_ANY_RATES = st.builds(
    CheckRates,
    n=st.just(1),
    p_doubt=_SHARES,
    p_wrong_doubted=_SHARES,
    p_wrong_undoubted=_SHARES,
    p_wrong_next_doubted=_SHARES,
    p_wrong_next=_SHARES,
    usd_cheap=_SHARES,
    usd_next=st.floats(0.001, 1),
)


@examples(80)
@given(_ANY_RATES)
def test_a_check_costs_between_cheap_and_both_and_more_doubt_never_costs_less(rates: CheckRates) -> None:
    value = value_of_check(rates)
    assert rates.usd_cheap <= value.usd <= rates.usd_cheap + rates.usd_next + 1e-12
    assert -1e-12 <= value.quality <= 1 + 1e-12
    assert value_of_check(replace(rates, p_doubt=min(1.0, rates.p_doubt + 0.1))).usd >= value.usd - 1e-12
    assert (value.quality >= value.quality_cheap - 1e-12) or rates.p_wrong_next_doubted > rates.p_wrong_doubted
