"""Outcomes: what real models were recorded to answer, per block and tier, and how recordings are split by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.routing import RouteFacts

#: The halves of a recording: rules are fitted on one and tested on the other.
HALVES = ("fit", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOutcome:
    """What one tier did with one block."""

    #: 0 to 1; 1 is right.
    score: float
    #: Dollars of this block's answer. A measured statistic, so a float.
    usd: float
    #: Ids of the doubts about the answer; None when nobody looked.
    doubts: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """One block that every tier in question answered."""

    query_id: str
    facts: RouteFacts
    #: Tier -> what it did.
    tiers: Mapping[str, TierOutcome]
    #: What a classifier said of the block, `simple` or `complex`; None when it was not asked.
    verdict: str | None = None

    @property
    def task(self) -> str:
        """The task the block belongs to."""
        return self.facts.schema.task


def half_of(query_id: str, salt: str = "") -> str:
    """`fit` or `test`, by the parity of the id's SHA-256: the same everywhere, and for ids nobody has seen yet.

    Another `salt`, put before the id, is another split of the same rows.
    """
    return HALVES[_number(salt + query_id) % 2]


def fold_of(query_id: str, folds: int) -> int:
    """One of so many folds, 0 and up; independent of the half."""
    return (_number(query_id) >> 8) % folds


def _number(query_id: str) -> int:
    return int(hashlib.sha256(query_id.encode("utf-8", "backslashreplace")).hexdigest(), 16)
