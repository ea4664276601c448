"""Ways: how a task's blocks can be answered, a tier alone or a cheap tier with a check, and what each is expected to give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.doubts import ANY_CHECK, HARD
from tokenopt_pipeline.domain.intervals import shrunk_means
from tokenopt_pipeline.domain.outcomes import OutcomeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Blocks that a fitted rule tells from others."""

    task: str
    #: None: blocks of every type.
    block_type: str | None = None
    #: Bounds of the schema's complexity, inclusive; None: no bound.
    min_complexity: int | None = None
    max_complexity: int | None = None

    @property
    def name(self) -> str:
        """Unique among the keys of a fit, and in the order that people read them in."""
        bounds = "" if self.max_complexity is None else f" to {self.max_complexity}"
        bounds += "" if self.min_complexity is None else f" up from {self.min_complexity}"
        return f"{self.task}\n{self.block_type or ''}\n{bounds}"


Cells = Mapping[Key, Sequence[OutcomeRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to answer the blocks of a task."""

    tier: str
    #: Doubts that send a block on to the next tier; empty: the first answer stands.
    escalate_on: tuple[str, ...] = ()
    #: Mean dollars per block, as recorded.
    usd: float
    #: Expected score above the second cheapest tier's, shrunk towards what other tasks show.
    gain: float

    @property
    def name(self) -> str:
        """Unique among the ways of a task."""
        return f"{self.tier}+{','.join(self.escalate_on)}" if self.escalate_on else self.tier


def ways_of(cells: Cells, tiers: Sequence[str], *, checks: bool) -> dict[Key, list[Way]]:
    """Every way of every task: each tier alone, and the cheapest with ever more doubts that escalate to the next one.

    `tiers` go from cheap to dear. Checks are offered where the cheapest tier's answers were looked at. What a check loses
    is what the blocks lose that it lets pass, so that a check and its two tiers are judged by the same figures.
    """
    if len(tiers) == 1:
        return {key: [Way(tier=tiers[0], usd=_usd(rows, tiers[0]), gain=0.0)] for key, rows in cells.items()}
    cheapest, following = tiers[:2]
    dearer = {
        tier: _shrunk({key: [_gain(row, tier, following) for row in rows] for key, rows in cells.items()})
        for tier in tiers[2:]
    }
    pieces = _pieces(cells, cheapest, following, _doubts_worth(cells, cheapest, following) if checks else {})
    found: dict[Key, list[Way]] = {}
    for key, rows in cells.items():
        usd = _usd(rows, cheapest)
        gain = -math.fsum(piece.loss for piece in pieces[key])
        found[key] = [
            Way(tier=cheapest, usd=usd, gain=gain),
            Way(tier=following, usd=_usd(rows, following), gain=0.0),
            *(Way(tier=tier, usd=_usd(rows, tier), gain=dearer[tier][key]) for tier in tiers[2:]),
        ]
        listed: list[str] = []
        for piece in (piece for piece in pieces[key] if piece.doubt):
            listed.append(piece.doubt)
            usd, gain = usd + piece.usd, gain + piece.loss
            if piece.usd:
                found[key].append(
                    Way(
                        tier=cheapest,
                        escalate_on=tuple(sorted({*listed, *_unseen(cells, cheapest)})),
                        usd=usd,
                        gain=gain,
                    )
                )
    return found


def _gain(row: OutcomeRow, tier: str, than: str) -> float:
    return row.tiers[tier].score - row.tiers[than].score


def _usd(rows: Sequence[OutcomeRow], tier: str) -> float:
    return math.fsum(row.tiers[tier].usd for row in rows) / len(rows)


def _shrunk(groups: Mapping[Key, Sequence[float]], prior: float | None = None) -> dict[Key, float]:
    named = {key.name: key for key in groups}
    shrunk = shrunk_means({name: groups[key] for name, key in named.items()}, prior=prior)
    return {named[name]: mean for name, mean in shrunk.items()}


@dataclass(frozen=True, slots=True)
class _Piece:
    """The blocks of a task whose worthiest doubt is this one; an empty doubt stands for those without any."""

    doubt: str
    #: Score per block of the whole task that is lost when these blocks keep the cheap answer.
    loss: float
    #: Dollars per block of the whole task that asking the next tier for them costs.
    usd: float


def _pieces(
    cells: Cells, cheap: str, following: str, worth: Mapping[Key, Mapping[str, float]]
) -> dict[Key, list[_Piece]]:
    """Every task in pieces by the worthiest doubt of each block, the worthiest first, the blocks without doubt last."""
    split: dict[Key, list[tuple[str, list[OutcomeRow]]]] = {}
    for key, rows in cells.items():
        left = list(rows)
        split[key] = []
        for doubt in sorted(worth.get(key, ()), key=lambda d, key=key: (-worth[key][d], d)):
            caught = [row for row in left if doubt in (row.tiers[cheap].doubts or ())]
            left = [row for row in left if doubt not in (row.tiers[cheap].doubts or ())]
            split[key].append((doubt, caught))
        split[key].append(("", left))
    gains = {
        key: {doubt: [_gain(row, following, cheap) for row in caught] for doubt, caught in parts if caught}
        for key, parts in split.items()
    }
    worth_alone = _drawn_together(gains)
    whole = _shrunk({key: [_gain(row, following, cheap) for row in rows] for key, rows in cells.items()})
    found: dict[Key, list[_Piece]] = {}
    for key, parts in split.items():
        n = len(cells[key])
        # That the cheap answers which are kept beat the dear ones is luck more often than not, so it is never expected.
        losses = [max(worth_alone[key].get(doubt, 0.0), 0.0) * len(caught) / n for doubt, caught in parts]
        # What a doubt is worth elsewhere says how a task's loss is spread over its pieces, not how large it is.
        total = math.fsum(losses)
        scale = whole[key] / total if min(whole[key], total) > 0 else float(gains[key].keys() != {""})
        found[key] = [
            _Piece(doubt, loss * scale, math.fsum(row.tiers[following].usd for row in caught) / n)
            for (doubt, caught), loss in zip(parts, losses, strict=True)
        ]
    return found


def _doubts_worth(cells: Cells, cheap: str, following: str) -> dict[Key, dict[str, float]]:
    """Task -> doubt -> the score that the next tier is expected to gain on a block with that doubt among others."""
    gains: dict[Key, dict[str, list[float]]] = {key: {} for key in cells}
    for key, rows in cells.items():
        for row in rows:
            for doubt in row.tiers[cheap].doubts or ():
                gains[key].setdefault(doubt, []).append(_gain(row, following, cheap))
    return _drawn_together(gains)


def _drawn_together(gains: Mapping[Key, Mapping[str, Sequence[float]]]) -> dict[Key, dict[str, float]]:
    """Task -> doubt -> mean gain. A doubt's mean over all tasks is drawn towards that of all doubts, and a task's towards
    its doubt's, which also stands where a task never had the doubt."""
    by_doubt: dict[str, dict[Key, Sequence[float]]] = {}
    for key, found in gains.items():
        for doubt, values in found.items():
            by_doubt.setdefault(doubt, {})[key] = values
    overall = shrunk_means({d: [g for values in groups.values() for g in values] for d, groups in by_doubt.items()})
    drawn: dict[Key, dict[str, float]] = {key: dict(overall) for key in gains}
    for doubt, groups in by_doubt.items():
        for key, value in _shrunk(groups, prior=overall[doubt]).items():
            drawn[key][doubt] = value
    return drawn


def _unseen(cells: Cells, cheap: str) -> frozenset[str]:
    """Hard doubts that no recording shows: they say as much as those that were seen."""
    seen = {doubt for rows in cells.values() for row in rows for doubt in row.tiers[cheap].doubts or ()}
    return frozenset({*HARD, ANY_CHECK} - seen)
