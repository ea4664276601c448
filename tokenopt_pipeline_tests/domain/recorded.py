"""Made-up recordings that several tests of fitting and backtesting share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.outcomes import OutcomeRow, TierOutcome
from tokenopt_pipeline.domain.routing import RouteFacts, SchemaFacts

#: Dollars per block.
SMALL_USD, MID_USD, LARGE_USD = 0.001, 0.01, 0.05


def a_row(query_id: str = "q1", **changes: Any) -> OutcomeRow:
    """A block that the small model gets wrong and the mid one right."""
    task, n_tokens = changes.pop("task", "t"), changes.pop("n_tokens", 10)
    block_type, complexity = changes.pop("block_type", BlockType.OTHER), changes.pop("complexity", 0)
    scores = {"small": 0.0, "mid": 1.0, **changes.pop("scores", {})}
    usd = {"small": SMALL_USD, "mid": MID_USD, "large": LARGE_USD, **changes.pop("usd", {})}
    doubts = changes.pop("doubts", None)
    facts = RouteFacts(block_type=block_type, n_tokens=n_tokens, schema=SchemaFacts(task=task, complexity=complexity))
    tiers = {
        tier: TierOutcome(
            score=score, usd=usd[tier], doubts=None if tier != "small" or doubts is None else frozenset(doubts)
        )
        for tier, score in scores.items()
    }
    return OutcomeRow(query_id=query_id, facts=facts, tiers=tiers, **changes)


def rows(task: str, pairs: Sequence[tuple[float, float]], **changes: Any) -> list[OutcomeRow]:
    """One row of a task per pair of scores (small, mid)."""
    return [
        a_row(f"{task}-{i}", task=task, scores={"small": small, "mid": mid}, **changes)
        for i, (small, mid) in enumerate(pairs)
    ]


def mixed(counts: Iterable[tuple[int, tuple[float, float]]]) -> list[tuple[float, float]]:
    """So many pairs of each kind."""
    return [pair for n, pair in counts for _ in range(n)]
