"""Tiers judged: their declared gates, and what moved since a benchmark that passed under the same thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.gates import Gate, GateResult, Gates, judge, moved
from tokenopt_pipeline.domain.measurements import CellKey, Row, Timing

_LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierVerdict:
    """What became of a tier."""

    tier: str
    results: tuple[GateResult, ...]
    #: Counted numbers that left their declared drift, one sentence each.
    moved: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed, one at least was judged, and nothing moved."""
        return self._is_judged and all(result.passed for result in self.results) and not self.moved

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, one sentence each."""
        failed = [result.sentence for result in self.results if not result.passed]
        if not failed and not self._is_judged:
            failed.append(f"no gate of {self.tier} was judged.")
        return (*failed, *self.moved)

    @property
    def _is_judged(self) -> bool:
        return any(result.found is not None for result in self.results)


def judge_tier(
    tier: str,
    gates: Gates,
    rows: Sequence[Row],
    timings: Sequence[Timing],
    before: Mapping[CellKey, Row],
) -> TierVerdict:
    """The verdict on one tier. `before`: cell -> its newest result that passed under the same thresholds."""
    mine = gates.of_tier(tier)
    return TierVerdict(
        tier=tier,
        results=tuple(judge(gate, rows, timings) for gate in mine),
        moved=tuple(_moved(gates, rows, before, {gate.key for gate in mine})),
    )


def tiers_of(gates: Gates) -> tuple[str, ...]:
    """Tiers with gates, in the order of the file."""
    return tuple(dict.fromkeys(gate.tier for gate in gates.gates))


def passes(
    gates: Gates, rows: Sequence[Row], timings: Sequence[Timing], before: Mapping[CellKey, Row]
) -> dict[CellKey, bool]:
    """Cell -> whether it keeps all of its gates and nothing in it moved."""
    failed = {gate.key for gate in gates.gates if not judge(gate, rows, timings).passed}
    return {row.key: row.key not in failed and not _moved(gates, rows, before, {row.key}) for row in rows}


def open_gates(gates: Gates, rows: Sequence[Row]) -> tuple[Gate, ...]:
    """Gates on cells that were measured, or are not available."""
    keys = {row.key for row in rows}
    return tuple(gate for gate in gates.gates if gate.key in keys)


def _moved(gates: Gates, rows: Sequence[Row], before: Mapping[CellKey, Row], keys: set[CellKey]) -> list[str]:
    said = []
    for row in rows:
        known = before.get(row.key)
        # Other inputs, or another answerer, are another history.
        if row.key in keys and known is not None and known.digest == row.digest and known.kind == row.kind != _LIVE:
            numbers = {name: value for name in gates.drift.allowed if (value := known.measure(name)) is not None}
            said += moved(gates.drift, row, numbers)
    return said
