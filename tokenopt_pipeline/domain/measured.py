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
    #: Bounds of the schema's complexity, inclusive; None: no bound.
    min_complexity: int | None = None
    max_complexity: int | None = None

    @property
    def name(self) -> str:
        """The blocks in a few words."""
        told = self.task if self.block_type is None else f"{self.task} / {self.block_type}"
        told += "" if self.max_complexity is None else f", complexity at most {self.max_complexity}"
        return told + ("" if self.min_complexity is None else f", complexity at least {self.min_complexity}")

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

    def of(self, task: str, block_type: str, complexity: int) -> MeasuredTask | None:
        """The row for blocks of this type of this task under a schema of this complexity, one of the type alone before one
        of every type; None when nothing was measured."""
        rows = [
            row
            for row in self.tasks
            if row.task == task
            and row.block_type in (block_type, None)
            and (row.min_complexity is None or row.min_complexity <= complexity)
            and (row.max_complexity is None or complexity <= row.max_complexity)
        ]
        return max(rows, key=lambda row: row.block_type is not None, default=None)
