"""Intervals: how far a measured mean can be trusted; analytic, so that the same rows always give the same interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

#: Two-sided 95 %.
_Z = 1.959964
_FEWEST_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % confidence interval, bounds inclusive."""

    n: int
    mean: float
    low: float
    high: float

    @property
    def points(self) -> str:
        """The interval in percentage points, as people read a change of quality."""
        return f"{self.mean * 100:+.2f} pp ({self.low * 100:+.2f} to {self.high * 100:+.2f}, n = {self.n})"


def paired_change(differences: Sequence[float]) -> Interval:
    """The mean of paired differences of scores, each in [-1, 1]. Raises ValueError when there are none.

    Adjusted Wald interval of Agresti and Min (2005): two pseudo-pairs are added, half of one better and half of one worse
    among them, so that rows that all agree do not pass for certainty. Their coverage holds from n = 10 on.
    """
    n = len(differences)
    if not n:
        raise ValueError("no rows, no mean")
    mean = math.fsum(differences) / n
    squares = math.fsum(d * d for d in differences) + 1.0
    center = math.fsum(differences) / (n + 2)
    error = _Z * math.sqrt(max(squares / (n + 2) - center * center, 0.0) / (n + 2))
    return Interval(n=n, mean=mean, low=max(min(center - error, mean), -1.0), high=min(max(center + error, mean), 1.0))


def ratio_saving(spent: Sequence[float], instead_of: Sequence[float]) -> Interval:
    """The share saved, 1 - sum(spent) / sum(instead_of), with the delta method's interval for paired rows.

    Raises ValueError when there are no rows or nothing was spent instead.
    """
    n, total = len(spent), math.fsum(instead_of)
    if not n or total <= 0:
        raise ValueError("nothing was spent, so nothing can be saved")
    ratio = math.fsum(spent) / total
    residuals = math.fsum((s - ratio * i) ** 2 for s, i in zip(spent, instead_of, strict=True))
    error = _Z * math.sqrt(residuals / max(n - 1, 1) / n) / (total / n)
    return Interval(n=n, mean=1 - ratio, low=1 - ratio - error, high=1 - ratio + error)


def shrunk_means(groups: Mapping[str, Sequence[float]], *, prior: float | None = None) -> dict[str, float]:
    """Each group's mean, drawn towards the middle of all groups as far as its own rows leave it uncertain.

    Empirical Bayes with the between-group variance of DerSimonian and Laird: of many groups, the one that looks best is
    most often the one that was lucky. The middle is the median over rows, because a few tasks lose much and most little;
    `prior` replaces it. Empty groups are left out. Without a prior fewer than four groups are left as they are: drawing so
    few together makes them worse, not better (Efron and Morris 1973).
    """
    filled = {name: list(values) for name, values in groups.items() if values}
    means = {name: math.fsum(values) / len(values) for name, values in filled.items()}
    if not filled or (prior is None and len(filled) < _FEWEST_GROUPS):
        return means
    middle = (
        _weighted_median({name: (means[name], len(values)) for name, values in filled.items()})
        if prior is None
        else prior
    )
    rows = sum(map(len, filled.values()))
    # One pseudo-row at a distance of one keeps rows that all agree from passing for certainty.
    within = (math.fsum((v - means[name]) ** 2 for name, vs in filled.items() for v in vs) + 1.0) / (rows + 1)
    precision = {name: len(values) / within for name, values in filled.items()}
    spread = math.fsum(precision[name] * (means[name] - middle) ** 2 for name in filled)
    between = max(0.0, (spread - len(filled)) / math.fsum(precision.values()))
    shrunk = {}
    for name, mean in means.items():
        weight = between / (between + 1 / precision[name])
        shrunk[name] = weight * mean + (1 - weight) * middle
    return shrunk


def _weighted_median(values: Mapping[str, tuple[float, int]]) -> float:
    """The value at which half of the weight is reached, counting from the smallest."""
    ordered = sorted(values.values())
    reached = list(accumulate(weight for _, weight in ordered))
    return next(value for (value, _), so_far in zip(ordered, reached, strict=True) if 2 * so_far >= reached[-1])
