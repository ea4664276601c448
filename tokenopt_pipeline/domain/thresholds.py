"""Thresholds: where a task's long or short blocks can go to the cheap tier with what the aim leaves unused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.intervals import paired_change
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.ways import Cells, Key, Way

#: A threshold that saves a smaller share of the reference's dollars is not worth a rule.
_LEAST_SAVING = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A task's blocks of at least, or at most, so many tokens go to a cheaper tier."""

    tier: str
    n_tokens: int
    #: Whether the longer blocks go there; else the shorter ones.
    at_least: bool
    #: Rows of the recording that it moves.
    n: int
    #: Score that is expected to be lost, summed over those rows, and dollars saved.
    loss: float
    usd: float


def find_thresholds(
    cells: Cells, trusted: Mapping[Key, Sequence[Way]], chosen: Mapping[Key, Way], slack: float, reference: str
) -> dict[Key, Threshold]:
    """At most one threshold per task: each time the one that saves most dollars within the slack that is left.

    `slack` is the summed score that may still be lost. A block's expected loss is its whole task's: within a task, length
    hardly tells which blocks need the dear tier, but it tells what they cost. Where the moved blocks are measurably worse
    off than that, their own loss counts.
    """
    total = sum(row.tiers[reference].usd for rows in cells.values() for row in rows)
    found: dict[Key, Threshold] = {}
    while True:
        offers = [
            (threshold, key)
            for key, ways in trusted.items()
            if key not in found and not chosen[key].escalate_on
            for way in ways
            if not way.escalate_on and way.usd < chosen[key].usd
            for threshold in [_best(cells[key], chosen[key], way, slack)]
            if threshold is not None and threshold.usd >= _LEAST_SAVING * total
        ]
        if not offers:
            return found
        threshold, key = max(offers, key=lambda offer: (offer[0].usd, offer[1].name))
        found[key] = threshold
        slack -= threshold.loss


def _best(rows: Sequence[OutcomeRow], now: Way, cheap: Way, slack: float) -> Threshold | None:
    best: Threshold | None = None
    for at_least in (True, False):
        ordered = sorted(rows, key=lambda row: row.facts.n_tokens, reverse=at_least)
        usd = 0.0
        for i, row in enumerate(ordered[:-1]):
            usd += row.tiers[now.tier].usd - row.tiers[cheap.tier].usd
            # Blocks of one length cannot be told apart.
            if ordered[i + 1].facts.n_tokens == row.facts.n_tokens:
                continue
            loss = _loss(ordered[: i + 1], now, cheap)
            if loss > slack:
                break
            if best is None or usd > best.usd:
                best = Threshold(
                    tier=cheap.tier, n_tokens=row.facts.n_tokens, at_least=at_least, n=i + 1, loss=loss, usd=usd
                )
    return best


def _loss(moved: Sequence[OutcomeRow], now: Way, cheap: Way) -> float:
    observed = paired_change([row.tiers[now.tier].score - row.tiers[cheap.tier].score for row in moved])
    usual = now.gain - cheap.gain
    return max((observed.mean if observed.low > usual else usual) * len(moved), 0.0)
