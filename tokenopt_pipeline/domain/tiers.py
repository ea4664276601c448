"""Tiers of models, from cheap to dear."""

from __future__ import annotations

TIERS = ("small", "mid", "large")


def tiers_above(tier: str) -> tuple[str, ...]:
    """The dearer tiers, the next one first."""
    return TIERS[TIERS.index(tier) + 1 :]
