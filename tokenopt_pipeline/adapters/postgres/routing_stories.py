"""Where a run asked another model than was planned first, counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tokenopt_pipeline.adapters.postgres.connection import Connection, row, rows
from tokenopt_pipeline.domain.moves import Asks, Cause
from tokenopt_pipeline.domain.runs import Run


class PostgresRoutingStories:
    """Reads; changes nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, run: Run, *, shard_no: int | None = None) -> dict[str, Any]:
        """Blocks that fell back, by obstacle; that were escalated, by tier; second opinions, first passes and what they
        decided; earlier answers that stand; and the dollars of each. Empty when nothing of it happened. Blocks that moved
        twice count twice."""
        at = {"run_no": run.run_no, "shard_no": shard_no}
        moves = rows(self._connection, "run_moves", **at)
        if not moves:
            return {}
        chosen = row(self._connection, "run_choices", **at)
        assert chosen is not None  # an aggregate always has a row
        passed = [m for m in moves if m["asks"] == Asks.CLASSIFICATION]
        compared = [m for m in moves if m["asks"] == Asks.SECOND_OPINION]
        # Splits of an escalated pack are paid like the pack; the blocks are counted once.
        above = [m for m in moves if m["asks"] == Asks.ANSWER and m["cause"] != Cause.CLASSIFIED]
        return {
            "fallbacks": _blocks_by("obstacle", (m for m in moves if m["obstacle"] is not None)),
            "first_passes": sum(m["blocks"] for m in passed if m["cause"] == Cause.PLANNED),
            "classified": _blocks_by("tier", (m for m in moves if m["cause"] == Cause.CLASSIFIED)),
            "second_opinions": sum(m["blocks"] for m in compared if m["cause"] == Cause.SECOND_OPINION),
            "escalated": _blocks_by("tier", (m for m in moves if m["cause"] == Cause.ESCALATION)),
            "earlier_answers_stand": chosen["n"],
            "usd": {
                "first_passes": _usd(passed),
                "second_opinions": _usd(compared),
                "other_models": _usd(above),
            },
        }


def _blocks_by(name: str, moves: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for move in moves:
        counts[move[name]] = counts.get(move[name], 0) + move["blocks"]
    return counts


def _usd(moves: Iterable[Mapping[str, Any]]) -> float | None:
    amounts = [move["usd"] for move in moves]
    return None if None in amounts else float(sum(amounts, Decimal(0)))
