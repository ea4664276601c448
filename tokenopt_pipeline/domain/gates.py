"""Gates: declared bounds on what benchmarks measure, and the sentence in which one passes or fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.measurements import CellKey, Row, Timing

_MEMBERS = frozenset(
    {
        "tier",
        "scenario",
        "workload",
        "blocks",
        "cache",
        "measure",
        "at_most",
        "at_least",
        "reason",
        "where_documents_are",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One bound on one number of one cell."""

    #: The optimization tier that the bound is about.
    tier: str
    key: CellKey
    #: Name of a number of `Row` or `Timing`.
    measure: str
    at_most: float | None = None
    at_least: float | None = None
    #: Why this bound and no other.
    reason: str
    #: Not judged on a machine without the workload's documents, which may not be given away with the product.
    where_documents_are: bool = False

    @property
    def name(self) -> str:
        """Which number it bounds."""
        cache = "" if self.key.cache == "cold" else f", {self.key.cache}"
        return f"{self.measure} of {self.key.scenario} on {self.key.workload} ({self.key.blocks} blocks{cache})"

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What became of a gate."""

    gate: Gate
    #: None: it was not measured.
    found: float | None
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a counted number may move between two benchmarks without anybody saying why. Relative; 0 is not at all."""

    #: Measure -> the share by which it may grow; a negative share is how far it may shrink.
    allowed: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The declared file."""

    gates: tuple[Gate, ...]
    drift: Drift

    def of_tier(self, tier: str) -> tuple[Gate, ...]:
        """The bounds on one tier."""
        return tuple(gate for gate in self.gates if gate.tier == tier)

    @property
    def keys(self) -> tuple[CellKey, ...]:
        """The cells that have to be measured, sorted, baselines among them."""
        wanted = {gate.key for gate in self.gates}
        wanted |= {CellKey(workload=k.workload, scenario="baseline", blocks=k.blocks) for k in wanted}
        return tuple(sorted(wanted))


def parse_gates(document: Mapping[str, object]) -> Gates:
    """The gates in a parsed file. Raises InvalidInput naming the gate that is wrong."""
    drift, listed = document.get("drift"), document.get("gate")
    if not isinstance(drift, Mapping) or not isinstance(drift.get("reason"), str) or not isinstance(listed, list):
        raise InvalidInput("gates: [drift] with its reason and at least one [[gate]] are needed")
    allowed = {str(name): share for name, share in drift.items() if name != "reason"}
    if wrong := next((name for name, share in allowed.items() if not isinstance(share, int | float)), None):
        raise InvalidInput(f"gates: drift.{wrong} must be a share")
    return Gates(
        gates=tuple(_gate(number, each) for number, each in enumerate(listed, start=1)),
        drift=Drift(allowed=allowed, reason=str(drift["reason"])),
    )


def _gate(number: int, value: object) -> Gate:
    at = f"gates: gate {number}"
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{at} must be a table")
    if unknown := sorted(set(value) - _MEMBERS):
        raise InvalidInput(f"{at}: unknown member {unknown[0]!r}; known: {', '.join(sorted(_MEMBERS))}")
    if missing := sorted({"tier", "scenario", "workload", "blocks", "measure", "reason"} - set(value)):
        raise InvalidInput(f"{at}: {missing[0]} is missing")
    if ("at_most" in value) == ("at_least" in value):
        raise InvalidInput(f"{at}: one of at_most and at_least is needed")
    return Gate(
        tier=str(value["tier"]),
        key=CellKey(
            workload=str(value["workload"]),
            scenario=str(value["scenario"]),
            blocks=int(value["blocks"]),
            cache=str(value.get("cache", "cold")),
        ),
        measure=str(value["measure"]),
        at_most=float(value["at_most"]) if "at_most" in value else None,
        at_least=float(value["at_least"]) if "at_least" in value else None,
        reason=str(value["reason"]),
        where_documents_are=value.get("where_documents_are") is True,
    )


def judge(gate: Gate, rows: Sequence[Row], timings: Sequence[Timing]) -> GateResult:
    """Whether the number keeps its bound. What was not measured fails, and says why it was not.

    A gate on documents that nothing at all was measured on is let pass, with nothing found: no tier may stand on it alone.
    """
    row = next((row for row in rows if row.key == gate.key), None)
    if gate.where_documents_are and all(row.workload != gate.key.workload for row in rows):
        sentence = f"{gate.name} is not judged: its documents are not on this machine."
        return GateResult(gate=gate, found=None, passed=True, sentence=sentence)
    if row is None or row.not_available is not None:
        why = "not measured" if row is None else f"not available: {row.not_available}"
        return GateResult(gate=gate, found=None, passed=False, sentence=f"{gate.name} is {why}.")
    timing = next((timing for timing in timings if timing.key == gate.key), None)
    found = row.measure(gate.measure)
    if found is None and timing is not None:
        found = timing.measure(gate.measure)
    if found is None:
        return GateResult(gate=gate, found=None, passed=False, sentence=f"{gate.name} is unknown.")
    passed = (gate.at_most is None or found <= gate.at_most) and (gate.at_least is None or found >= gate.at_least)
    word = "is" if passed else "moved to"
    return GateResult(
        gate=gate, found=found, passed=passed, sentence=f"{gate.name} {word} {found:g}; allowed {gate.bound}."
    )


def moved(drift: Drift, row: Row, before: Mapping[str, float]) -> list[str]:
    """Which counted numbers moved further than declared since an earlier benchmark of the same cell, one sentence each."""
    said = []
    for name, share in drift.allowed.items():
        found, known = row.measure(name), before.get(name)
        if found is None or known is None:
            continue
        limit = known + abs(known) * share
        if (share >= 0 and found > limit) or (share < 0 and found < limit):
            said.append(
                f"{name} of {row.scenario} on {row.workload} ({row.blocks} blocks, {row.cache}) moved from {known:g} to {found:g}."
            )
    return said
