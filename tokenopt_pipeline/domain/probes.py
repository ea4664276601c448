"""Probes: labelled queries of a reference, what they measure, and the threshold they calibrate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.ranking import SILENCE, Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A text and what a search for it must bring."""

    query: str
    #: Names of sources, in any order, without repeats. Never empty.
    relevant: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a search made of one probe."""

    probe: Probe
    #: Share of the relevant sources among the first k.
    recall: float
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A search less sure than this is not trusted. Both bounds are inclusive."""

    score: float
    margin: float

    def trusts(self, found: Confidence) -> bool:
        """Whether a search was sure enough."""
        return found.score >= self.score and found.margin >= self.margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold set on half of the probes, and what it keeps on the other half, which it has not seen."""

    #: None: no threshold reaches the gate.
    threshold: Threshold | None
    #: Mean recall over the trusted probes of the unseen half; None when it trusts none.
    recall: float | None
    #: Probes of the unseen half, trusted or not.
    n: int
    #: Of those, how many the threshold trusts.
    trusted: int
    #: References whose rules lent words to the searches: name -> recipe digest of its index.
    lent_by: Mapping[str, str] = field(default_factory=dict)


def recall_at(ranked: Sequence[str], relevant: Sequence[str], k: int) -> float:
    """Share of the relevant among the first k different names of a ranking."""
    first = list(dict.fromkeys(ranked))[:k]
    return sum(name in first for name in relevant) / len(relevant)


def ndcg_at(ranked: Sequence[str], gains: dict[str, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first k different names; 0 when nothing has a gain."""
    first = list(dict.fromkeys(ranked))[:k]
    found = sum(gains.get(name, 0.0) / math.log2(place + 2) for place, name in enumerate(first))
    best = sorted(gains.values(), reverse=True)[:k]
    possible = sum(gain / math.log2(place + 2) for place, gain in enumerate(best))
    return found / possible if possible else 0.0


def calibrate(
    results: Sequence[ProbeResult],
    *,
    gate: float,
    can_be_silent: bool = False,
    lent_by: Mapping[str, str] | None = None,
) -> Calibration:
    """The threshold that trusts most of one half's probes at a mean recall of at least `gate`, tried on the other half.

    Halves are told by a digest of the query, so that the order of the probes does not matter. `can_be_silent`: whatever of
    the index has no trigger is carried anyway, so that a block on which no rule fires needs no more (`ranking.SILENCE`). Of
    every probe some rule should have spoken; silence is trusted when all of them together reach the gate, those on which
    none spoke included. `lent_by`: whose rules lent words to the searches, see `Calibration`.
    """
    seen = [result for result in results if _is_seen(result.probe)]
    unseen = [result for result in results if not _is_seen(result.probe)]
    threshold = _widest(seen, gate, margins={SILENCE.margin} if can_be_silent else set())
    trusted = [result for result in unseen if threshold is not None and threshold.trusts(result.confidence)]
    return Calibration(
        threshold=threshold, recall=_mean(trusted), n=len(unseen), trusted=len(trusted), lent_by=dict(lent_by or {})
    )


def _is_seen(probe: Probe) -> bool:
    return int(digest_text(probe.query)[0], 16) % 2 == 0


def _mean(results: Sequence[ProbeResult]) -> float | None:
    return sum(result.recall for result in results) / len(results) if results else None


def _widest(results: Sequence[ProbeResult], gate: float, *, margins: Set[float]) -> Threshold | None:
    """Of the confidences that were seen, and these margins; the lower of two that trust as many."""
    found: tuple[int, Threshold] | None = None
    scores = sorted({result.confidence.score for result in results})
    for score in scores:
        for margin in sorted({result.confidence.margin for result in results} | margins):
            threshold = Threshold(score=score, margin=margin)
            trusted = [result for result in results if threshold.trusts(result.confidence)]
            recall = _mean(trusted)
            if recall is not None and recall >= gate and (found is None or len(trusted) > found[0]):
                found = (len(trusted), threshold)
    return None if found is None else found[1]
