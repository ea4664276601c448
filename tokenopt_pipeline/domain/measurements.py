"""Measurements: what benchmark cells counted and took, and the rows in which they are compared with their baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from tokenopt_pipeline.domain.agreement import Agreement, agreement
from tokenopt_pipeline.domain.intervals import paired_change

BASELINE = "baseline"
#: Digits kept of what is divided: more would only show how a machine adds.
_DIGITS = 6
_USD_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CellKey:
    """Which cell."""

    workload: str
    scenario: str
    blocks: int
    #: `cold`: no prompt was seen before. `warm`: the same cell had just been run.
    cache: str = "cold"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcome:
    """How one block ended."""

    status: str
    rule: str | None = None
    error: str | None = None
    answer: Mapping[str, object] | None = None
    #: 0 to 1, where a recording says how right the answer is; None: nobody knows.
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of a cell. Without `outcomes` it could not be measured, and `refusal` says why."""

    key: CellKey
    #: simulated, recorded or live.
    kind: str
    #: Digest of blocks, schema and reference.
    digest: str
    refusal: str | None = None
    #: Why it ended before its last block.
    stopped: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: Counted: calls, calls_failed, packs, packs_from_splits, batches, violations, tokens by class.
    counts: Mapping[str, int] = field(default_factory=dict)
    usd: float | None = None
    skipped_by_rule: Mapping[str, int] = field(default_factory=dict)
    failed_by_class: Mapping[str, int] = field(default_factory=dict)
    blocks_by_model: Mapping[str, int] = field(default_factory=dict)
    #: In document order.
    outcomes: Sequence[BlockOutcome] = ()
    #: Seconds, milliseconds, MiB; never compared byte by byte.
    spent: Mapping[str, float | None] = field(default_factory=dict)
    #: Of the reference's index: probes that were not used to set its threshold, and the mean recall on those that it trusts.
    probes: int | None = None
    recall: float | None = None
    #: What packs carried of the reference -> how many did.
    carried: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the comparison. None is unknown, never zero."""

    workload: str
    scenario: str
    blocks: int
    cache: str
    kind: str
    digest: str
    not_available: str | None
    stopped: str | None
    left_out: Mapping[str, str]
    repeats: int
    #: Whether every repeat counted the same; simulated ones must.
    repeats_identical: bool
    counts: Mapping[str, int]
    usd: float | None
    #: 1 - usd / the baseline's usd.
    saved: float | None
    outcomes: Mapping[str, int]
    skipped_by_rule: Mapping[str, int]
    failed_by_class: Mapping[str, int]
    blocks_by_model: Mapping[str, int]
    #: Blocks that did not end in exactly one outcome.
    violations: int | None
    #: Fields compared with the baseline's answers, over blocks that both answered.
    fields: int | None
    agreement: float | None
    #: Change of the share of agreeing fields per block, with its 95 % interval.
    quality_change: float | None
    quality_low: float | None
    quality_high: float | None
    #: Of blocks that people marked as carrying an answer: how many there are, how many were skipped.
    marked: int | None
    lost: int | None
    #: Share of blocks that are right as recorded, and its change against the baseline with its 95 % interval. Results that
    #: were stored before anything recorded was measured lack these.
    score: float | None = None
    score_change: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    #: Of the reference's index: probes that were not used to set its threshold, and the mean recall on those that it trusts.
    probes: int | None = None
    recall: float | None = None
    #: What packs carried of the reference -> how many did.
    carried: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> CellKey:
        """Which cell it is about."""
        return CellKey(workload=self.workload, scenario=self.scenario, blocks=self.blocks, cache=self.cache)

    def measure(self, name: str) -> float | None:
        """A number of the row by its name; `lost_share`, `failed_share` and `skipped_share` are of the marked or all blocks."""
        if self.not_available is not None:
            return None
        if name == "lost_share":
            return None if not self.marked or self.lost is None else self.lost / self.marked
        if name in ("failed_share", "skipped_share"):
            return self.outcomes.get(name.removesuffix("_share"), 0) / self.blocks
        found = self.counts.get(name, getattr(self, name, None))
        return float(found) if isinstance(found, int | float) else None

    def document(self) -> dict[str, object]:
        """The row as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a cell took: medians over its repeats. They differ from machine to machine and from hour to hour."""

    key: CellKey
    kind: str
    repeats: int
    wall_s: float | None
    provider_s: float | None
    block_p50_ms: float | None
    block_p95_ms: float | None
    #: CPU of our own processes; the sandbox's is not ours.
    cpu_s_per_1000_blocks: float | None
    peak_rss_mb: float | None

    def measure(self, name: str) -> float | None:
        """A number of the row by its name."""
        found = getattr(self, name, None)
        return float(found) if isinstance(found, int | float) else None

    def document(self) -> dict[str, object]:
        """The row as JSON values."""
        document = asdict(self)
        return {**document.pop("key"), **document}


def compare(cells: Sequence[Cell], marks: Mapping[str, Sequence[bool | None]]) -> list[Row]:
    """A row per cell key, in the order of keys, each beside the cold baseline of the same workload and block count.

    `marks`: workload -> whether people marked its blocks as carrying an answer, in document order.
    """
    baselines = {
        (cell.key.workload, cell.key.blocks): cell
        for cell in reversed(cells)
        if cell.key.scenario == BASELINE and cell.key.cache == "cold" and cell.refusal is None
    }
    return [
        _row(repeats, baselines.get((key.workload, key.blocks)), marks.get(key.workload, ()))
        for key, repeats in _by_key(cells)
    ]


def timings(cells: Sequence[Cell]) -> list[Timing]:
    """A timing per cell key that could be measured, in the order of keys."""
    found = []
    for key, repeats in _by_key(cells):
        measured = [cell for cell in repeats if cell.refusal is None]
        if measured:
            cpu_s = _median(measured, "cpu_s")
            found.append(
                Timing(
                    key=key,
                    kind=measured[0].kind,
                    repeats=len(measured),
                    wall_s=_median(measured, "wall_s"),
                    provider_s=_median(measured, "provider_s"),
                    block_p50_ms=_median(measured, "block_p50_ms"),
                    block_p95_ms=_median(measured, "block_p95_ms"),
                    cpu_s_per_1000_blocks=None if cpu_s is None else round(cpu_s / key.blocks * 1000, 3),
                    peak_rss_mb=_median(measured, "peak_rss_mb"),
                )
            )
    return found


def _by_key(cells: Sequence[Cell]) -> Iterator[tuple[CellKey, list[Cell]]]:
    for key in sorted({cell.key for cell in cells}):
        yield key, [cell for cell in cells if cell.key == key]


def _median(cells: Sequence[Cell], name: str) -> float | None:
    known = [value for cell in cells if (value := cell.spent.get(name)) is not None]
    return round(median(known), 3) if known else None


def _row(repeats: Sequence[Cell], baseline: Cell | None, marks: Sequence[bool | None]) -> Row:
    cell = repeats[0]
    is_measured = cell.refusal is None
    saved = None
    if baseline is not None and cell.usd is not None and baseline.usd:
        saved = round(1 - cell.usd / baseline.usd, _DIGITS)
    total, changes = _against(cell, baseline)
    change = paired_change(changes) if changes else None
    scores = [outcome.score for outcome in cell.outcomes if outcome.score is not None]
    moved = _score_changes(cell, baseline)
    scored = paired_change(moved) if moved else None
    carried = [o for o, mark in zip(cell.outcomes, marks, strict=False) if mark]
    statuses = [outcome.status for outcome in cell.outcomes]
    return Row(
        workload=cell.key.workload,
        scenario=cell.key.scenario,
        blocks=cell.key.blocks,
        cache=cell.key.cache,
        kind=cell.kind,
        digest=cell.digest,
        not_available=cell.refusal,
        stopped=cell.stopped,
        left_out=cell.left_out,
        repeats=len(repeats),
        repeats_identical=all(_counted(other) == _counted(cell) for other in repeats),
        counts=cell.counts,
        usd=None if cell.usd is None else round(cell.usd, _USD_DIGITS),
        saved=saved,
        outcomes={status: statuses.count(status) for status in sorted(set(statuses))},
        skipped_by_rule=cell.skipped_by_rule,
        failed_by_class=cell.failed_by_class,
        blocks_by_model=cell.blocks_by_model,
        violations=_violations(cell) if is_measured else None,
        fields=total.fields if changes else None,
        agreement=round(total.agreeing / total.fields, _DIGITS) if total.fields else None,
        quality_change=None if change is None else round(change.mean, _DIGITS),
        quality_low=None if change is None else round(change.low, _DIGITS),
        quality_high=None if change is None else round(change.high, _DIGITS),
        marked=len(carried) if any(mark is not None for mark in marks) and is_measured else None,
        lost=sum(o.status == "skipped" for o in carried)
        if any(mark is not None for mark in marks) and is_measured
        else None,
        score=round(sum(scores) / len(scores), _DIGITS) if scores else None,
        score_change=None if scored is None else round(scored.mean, _DIGITS),
        score_low=None if scored is None else round(scored.low, _DIGITS),
        score_high=None if scored is None else round(scored.high, _DIGITS),
        probes=cell.probes,
        recall=None if cell.recall is None else round(cell.recall, _DIGITS),
        carried=cell.carried,
    )


def _violations(cell: Cell) -> int:
    """Blocks with no outcome or two, as the database counts them, and those that are missing from what it exports."""
    ended = {"skipped", "ai_complete", "failed", "confirmed"}
    open_ = 0 if cell.stopped is not None else sum(o.status not in ended for o in cell.outcomes)
    return cell.counts.get("violations", 0) + open_ + abs(cell.key.blocks - len(cell.outcomes))


def _against(cell: Cell, baseline: Cell | None) -> tuple[Agreement, list[float]]:
    """Fields agreeing with the baseline's, in all and as the change of the share per block that both answered."""
    total, changes = Agreement(), []
    if baseline is not None and baseline.digest == cell.digest:
        for ours, theirs in zip(cell.outcomes, baseline.outcomes, strict=False):
            if ours.answer is not None and theirs.answer is not None:
                found = agreement(ours.answer, theirs.answer, {})
                total += found
                if found.fields:
                    changes.append(found.agreeing / found.fields - 1.0)
    return total, changes


def _score_changes(cell: Cell, baseline: Cell | None) -> list[float]:
    """What recordings say of each block's answer against the baseline's."""
    if baseline is None or baseline.digest != cell.digest:
        return []
    pairs = zip(cell.outcomes, baseline.outcomes, strict=False)
    return [o.score - b.score for o, b in pairs if o.score is not None and b.score is not None]


def _counted(cell: Cell) -> tuple[object, ...]:
    """All that may not differ between repeats."""
    return (cell.refusal, cell.counts, cell.usd, cell.skipped_by_rule, cell.failed_by_class, list(cell.outcomes))
