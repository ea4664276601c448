"""A policy is replayed on recorded outcomes with every call counted, beside what it is compared with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.backtesting import Strategy, backtest, mixture, replay
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.domain.routing_section import parse_routing
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.domain.recorded import LARGE_USD, MID_USD, SMALL_USD, a_row


def _policy(**members: Any) -> RoutingPolicy:
    return parse_routing(members, Places())


_CHECKED = {"default_tier": "small", "escalation": {"enabled": True}}
_TWO_PASS = {"rules": [{"id": "r", "two_pass": {}}]}


@pytest.mark.parametrize(
    ("members", "row", "tier", "usd"),
    [
        pytest.param({"default_tier": "small"}, a_row(), "small", SMALL_USD, id="a tier alone"),
        pytest.param(_CHECKED, a_row(doubts=["schema"]), "mid", SMALL_USD + MID_USD, id="a doubt is asked again"),
        pytest.param(_CHECKED, a_row(doubts=["nothing_found"]), "small", SMALL_USD, id="another doubt is not"),
        pytest.param(_CHECKED, a_row(), "small", SMALL_USD, id="nobody looked"),
        pytest.param(
            _CHECKED, a_row(doubts=["schema"], scores={"mid": 1.0}), "mid", SMALL_USD + MID_USD, id="paid twice"
        ),
        pytest.param(
            {"rules": [{"id": "r", "tier": "small", "escalate_on": ["off_topic"]}], "escalation": {"enabled": True}},
            a_row(doubts=["schema"]),
            "small",
            SMALL_USD,
            id="the rule's own list",
        ),
        pytest.param(_TWO_PASS, a_row(verdict="simple"), "small", 2 * SMALL_USD, id="two passes, simple"),
        pytest.param(_TWO_PASS, a_row(verdict="complex"), "mid", SMALL_USD + MID_USD, id="two passes, complex"),
        pytest.param(_TWO_PASS, a_row(), "mid", SMALL_USD + MID_USD, id="two passes, not classified"),
    ],
)
def test_a_row_is_answered_by_the_tier_the_policy_ends_at_and_all_its_calls_are_paid(
    members: dict[str, Any], row: OutcomeRow, tier: str, usd: float
) -> None:
    played = replay(_policy(**members), row)
    assert played.tier == tier
    assert played.usd == pytest.approx(usd)
    assert played.score == row.tiers[tier].score
    assert played.escalated is (tier == "mid" and members is _CHECKED)


def test_escalation_stops_where_no_dearer_tier_was_recorded() -> None:
    row = a_row(doubts=["schema"])
    only_small = OutcomeRow(query_id="q", facts=row.facts, tiers={"small": row.tiers["small"]})
    assert replay(_policy(**_CHECKED), only_small).tier == "small"


_ROWS = [
    a_row("q1", scores={"small": 1.0, "mid": 1.0, "large": 1.0}),
    a_row("q2", scores={"small": 0.0, "mid": 1.0, "large": 1.0}),
    a_row("q3", scores={"small": 0.0, "mid": 0.0, "large": 1.0}),
    a_row("q4", scores={"small": 0.5, "mid": 0.5, "large": 0.0}),
]


def test_the_table_holds_every_strategy_by_hand() -> None:
    result = backtest(_policy(default_tier="small"), _ROWS, reference="mid")
    table = {s.name: (s.quality, s.usd) for s in result.strategies}
    assert list(table) == ["always-small", "always-mid", "always-large", "policy", "random", "perfect-check", "oracle"]
    assert table["always-small"] == table["policy"] == (0.375, SMALL_USD)
    assert table["always-mid"] == (0.625, MID_USD)
    all_paid = SMALL_USD + MID_USD + LARGE_USD
    assert table["perfect-check"] == pytest.approx((3.5 / 4, (SMALL_USD + (SMALL_USD + MID_USD) + 2 * all_paid) / 4))
    assert table["oracle"] == pytest.approx((3.5 / 4, (2 * SMALL_USD + MID_USD + LARGE_USD) / 4))
    assert (result.n, result.reference, result.escalated) == (4, "mid", 0.0)
    assert dict(result.answered_by) == {"small": 1.0, "mid": 0.0, "large": 0.0}


def test_changes_and_savings_are_against_the_reference_which_has_none_itself() -> None:
    result = backtest(_policy(default_tier="small"), _ROWS, reference="mid")
    policy = result.of("policy")
    assert policy.change is not None
    assert policy.saving is not None
    assert (policy.change.mean, policy.saving.mean) == pytest.approx((-0.25, 0.9))
    assert result.of("always-mid").change is None
    with pytest.raises(KeyError):
        result.of("always-huge")


def test_without_rows_there_is_no_backtest() -> None:
    with pytest.raises(ValueError, match="no rows"):
        backtest(_policy(), [], reference="mid")


def _always(name: str, quality: float, usd: float) -> Strategy:
    return Strategy(name=name, quality=quality, usd=usd)


@pytest.mark.parametrize(
    ("usd", "quality"),
    [
        pytest.param(2.0, 0.6, id="halfway between small and mid"),
        pytest.param(3.0, 0.7, id="mid itself"),
        pytest.param(0.5, 0.5, id="below the cheapest"),
        pytest.param(99.0, 0.7, id="a worse large tier is never mixed in"),
    ],
)
def test_random_is_the_best_blind_mixture_at_the_same_spend(usd: float, quality: float) -> None:
    always = [_always("small", 0.5, 1.0), _always("mid", 0.7, 3.0), _always("large", 0.6, 9.0)]
    assert mixture(always, usd) == pytest.approx(quality)


def test_a_mixture_skips_a_tier_that_others_beat() -> None:
    always = [_always("small", 0.5, 1.0), _always("mid", 0.5, 5.0), _always("large", 0.9, 9.0)]
    assert mixture(always, 5.0) == pytest.approx(0.7)


_SCORES = st.fixed_dictionaries({t: st.sampled_from([0.0, 0.5, 1.0]) for t in ("small", "mid", "large")})


@examples(100)
@given(st.lists(_SCORES, min_size=1, max_size=12), st.sampled_from(["small", "mid", "large"]))
def test_no_strategy_is_better_than_the_oracle(scores: list[dict[str, float]], tier: str) -> None:
    recorded = [a_row(f"q{i}", scores=s, doubts=["schema"]) for i, s in enumerate(scores)]
    result = backtest(_policy(**_CHECKED), recorded, reference=tier)
    oracle = result.of("oracle")
    assert all(s.quality <= oracle.quality + 1e-9 for s in result.strategies)
    assert result.of("perfect-check").quality == pytest.approx(oracle.quality)
