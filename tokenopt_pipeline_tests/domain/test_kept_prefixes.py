"""Storage for a prefix is rented when that is cheaper than what a provider finds by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.domain.kept_prefixes import LEASE_S, KeepingPlan, KeptPrefix, lease_usd, plan_keeping
from tokenopt_pipeline.domain.routing import ModelRef


def plan(**changes: Any) -> KeepingPlan:
    """A prefix of a million tokens at gemini-3.8-flash's prices, stored for one lease."""
    values: dict[str, Any] = {
        "requests": 10,
        "plain_usd": Decimal("0.75"),
        "read_usd": Decimal("0.075"),
        "storage_usd_per_hour": Decimal("0.50"),
        "duration_s": 60.0,
        "implicit_hit_share": 0.5,
    }
    return plan_keeping(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "pays"),
    [
        # 0.75 + 0.50/6 + n·0.075 against n·(0.0375 + 0.375): from 2.5 requests on
        ({"requests": 2}, False),
        ({"requests": 3}, True),
        # Whatever finds everything by itself cannot be made cheaper.
        ({"implicit_hit_share": 1.0, "requests": 1_000}, False),
        ({"implicit_hit_share": 0.0, "requests": 2}, True),
        # 61 leases of ten minutes: 0.75 + 5.08 + 0.75 against 4.125
        ({"duration_s": 36_060.0}, False),
        ({"storage_usd_per_hour": None}, False),
        ({"plain_usd": None}, False),
        ({"read_usd": None}, False),
    ],
)
def test_it_is_kept_when_that_costs_less(changes: dict[str, Any], pays: bool) -> None:
    assert plan(**changes).pays is pays


def test_the_plan_says_both_costs_and_what_the_first_lease_may_cost() -> None:
    assert plan().reason == "10 requests cost $1.5833 with the prefix kept and about $4.1250 without."
    assert plan().lease_usd == lease_usd(Decimal("0.75"), Decimal("0.50"))
    assert lease_usd(Decimal("0.75"), Decimal("0.60")) == pytest.approx(Decimal("0.85"))


def test_a_lease_is_prolonged_before_a_request_could_come_too_late() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ends = now + timedelta(seconds=LEASE_S)
    kept = KeptPrefix(
        prefix_no=1, fingerprint="f", model=ModelRef(provider="google", model="m"), name="n", tokens=9, expires_at=ends
    )
    assert not kept.must_be_prolonged(now)
    assert kept.must_be_prolonged(ends - timedelta(seconds=149))
