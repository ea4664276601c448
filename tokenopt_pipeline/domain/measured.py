"""Measured: what each tier was found to answer right and to cost, per task; the table that fitted routing rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenopt_pipeline.domain.escalation import CheckRates, CheckValue, value_of_check


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRate:
    """One tier on one task."""

    #: Mean score, 0 to 1.
    quality: float
    #: Mean dollars per block.
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCheck:
    """What the doubts that escalate a task's blocks were found to be worth; shares of blocks, 0 to 1."""

    doubted: float
    wrong_doubted: float
    wrong_undoubted: float
    #: Wrong answers of the next tier among the doubted blocks.
    next_wrong_doubted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTask:
    """One task, answered by every tier."""

    task: str
    #: None: blocks of every type.
    block_type: str | None
    #: Blocks that every tier answered.
    n: int
    #: Tier -> what it did. At least one.
    tiers: Mapping[str, TierRate]
    #: The check of the cheapest tier against the next one; None when none was measured.
    check: MeasuredCheck | None = None

    def value_of_check(self, cheap: str, following: str) -> CheckValue | None:
        """What checking tier `cheap` and asking `following` in doubt is worth; None when it was not measured."""
        if self.check is None or cheap not in self.tiers or following not in self.tiers:
            return None
        return value_of_check(
            CheckRates(
                n=self.n,
                p_doubt=self.check.doubted,
                p_wrong_doubted=self.check.wrong_doubted,
                p_wrong_undoubted=self.check.wrong_undoubted,
                p_wrong_next_doubted=self.check.next_wrong_doubted,
                p_wrong_next=1 - self.tiers[following].quality,
                usd_cheap=self.tiers[cheap].usd,
                usd_next=self.tiers[following].usd,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRates:
    """A fitted table and where it comes from."""

    #: Where the figures come from, in one sentence.
    source: str
    #: Tier -> the model that stood for it when the outcomes were recorded.
    models: Mapping[str, str]
    #: In the order of their names.
    tasks: tuple[MeasuredTask, ...]

    def of(self, task: str, block_type: str) -> MeasuredTask | None:
        """The row for blocks of this type of this task, the more specific one first; None when nothing was measured."""
        rows = [row for row in self.tasks if row.task == task and row.block_type in (block_type, None)]
        return max(rows, key=lambda row: row.block_type is not None, default=None)
