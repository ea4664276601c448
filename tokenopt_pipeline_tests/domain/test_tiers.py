"""Tiers go from cheap to dear."""

from __future__ import annotations

from tokenopt_pipeline.domain.tiers import TIERS, tiers_above


def test_above_a_tier_are_the_dearer_ones_the_next_one_first() -> None:
    assert [tiers_above(tier) for tier in TIERS] == [("mid", "large"), ("large",), ()]
