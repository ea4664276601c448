"""Backtests: what a routing policy would have cost and answered right on recorded outcomes, beside what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tokenopt_pipeline.domain.doubts import is_among
from tokenopt_pipeline.domain.intervals import Interval, paired_change, ratio_saving
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.routing import RoutingPolicy, matching_rule
from tokenopt_pipeline.domain.tiers import TIERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a policy did with one row."""

    score: float
    #: Every call counted: first passes and answers that were thrown away included.
    usd: float
    #: The tier whose answer counts.
    tier: str
    escalated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One line of the table. Quality is the mean score, 0 to 1; dollars are means per block."""

    name: str
    quality: float
    usd: float
    #: Change of quality and share of dollars saved against the reference; None for the reference itself and for what is
    #: no strategy of whole rows, such as a random mixture.
    change: Interval | None = None
    saving: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A policy on recorded outcomes."""

    n: int
    #: The tier that changes and savings are measured against.
    reference: str
    #: In a fixed order: always-TIER, policy, random, perfect check, oracle.
    strategies: tuple[Strategy, ...]
    #: Share of rows that were escalated.
    escalated: float
    #: Tier -> share of rows whose counted answer is its.
    answered_by: tuple[tuple[str, float], ...]

    def of(self, name: str) -> Strategy:
        """The line with this name. Raises KeyError."""
        found = next((s for s in self.strategies if s.name == name), None)
        if found is None:
            raise KeyError(name)
        return found


def replay(policy: RoutingPolicy, row: OutcomeRow) -> Replayed:
    """What the policy would have made of one row.

    A row of a two-pass rule without a verdict is answered by the complex tier, its classification paid all the same. The
    classification is counted with the dollars of the classifier's whole answer, which is more than it costs.
    """
    rule = matching_rule(policy, row.facts)
    tier = policy.default_tier if rule is None else rule.tier
    usd = 0.0
    if rule is not None and rule.two_pass is not None:
        usd += row.tiers[rule.two_pass.classifier].usd
        tier = rule.two_pass.simple if row.verdict == "simple" else rule.two_pass.complex
    first, escalated = tier, False
    wanted = policy.escalation.doubts if rule is None or rule.escalate_on is None else rule.escalate_on
    usd += row.tiers[tier].usd
    for above in policy.escalation.tiers_from(first):
        doubts = row.tiers[tier].doubts or ()
        if above not in row.tiers or not any(is_among(d, wanted) for d in doubts):
            break
        tier, escalated = above, True
        usd += row.tiers[tier].usd
    return Replayed(score=row.tiers[tier].score, usd=usd, tier=tier, escalated=escalated)


def backtest(policy: RoutingPolicy, rows: Sequence[OutcomeRow], *, reference: str) -> Backtest:
    """The policy beside always-small, always-mid, always-large (those that were recorded), random and the oracle.

    Raises ValueError when there are no rows.
    """
    if not rows:
        raise ValueError("no rows, no backtest")
    tiers = [tier for tier in TIERS if all(tier in row.tiers for row in rows)]
    base = [row.tiers[reference] for row in rows]

    def strategy(name: str, scores: Sequence[float], usd: Sequence[float]) -> Strategy:
        return Strategy(
            name=name,
            quality=math.fsum(scores) / len(rows),
            usd=math.fsum(usd) / len(rows),
            change=paired_change([s - b.score for s, b in zip(scores, base, strict=True)]),
            saving=ratio_saving(usd, [b.usd for b in base]),
        )

    always = []
    for tier in tiers:
        found = [row.tiers[tier] for row in rows]
        line = strategy(f"always-{tier}", [f.score for f in found], [f.usd for f in found])
        always.append(Strategy(name=line.name, quality=line.quality, usd=line.usd) if tier == reference else line)
    played = [replay(policy, row) for row in rows]
    routed = strategy("policy", [p.score for p in played], [p.usd for p in played])
    perfect = [_perfect_check(row, tiers) for row in rows]
    best = [_oracle(row, tiers) for row in rows]
    return Backtest(
        n=len(rows),
        reference=reference,
        strategies=(
            *always,
            routed,
            Strategy(name="random", quality=mixture(always, routed.usd), usd=routed.usd),
            strategy("perfect-check", [s for s, _ in perfect], [u for _, u in perfect]),
            strategy("oracle", [s for s, _ in best], [u for _, u in best]),
        ),
        escalated=sum(p.escalated for p in played) / len(rows),
        answered_by=tuple((t, sum(p.tier == t for p in played) / len(rows)) for t in tiers),
    )


def mixture(always: Sequence[Strategy], usd: float) -> float:
    """Expected quality of the best blind mixture of whole tiers at this spend: each block at random, at a fixed share.

    Below the cheapest tier's spend its quality, above the dearest one's the best.
    """
    ordered = sorted(always, key=lambda s: (s.usd, -s.quality))
    best = max((s.quality for s in ordered if s.usd <= usd), default=ordered[0].quality)
    for low in ordered:
        for high in ordered:
            if low.usd <= usd <= high.usd and low.usd < high.usd:
                share = (usd - low.usd) / (high.usd - low.usd)
                best = max(best, low.quality + share * (high.quality - low.quality))
    return best


def _perfect_check(row: OutcomeRow, tiers: Sequence[str]) -> tuple[float, float]:
    """Going up the tiers until an answer is fully right, knowing when it is; the best answer counts, all are paid."""
    score = usd = 0.0
    for tier in tiers:
        usd += row.tiers[tier].usd
        score = max(score, row.tiers[tier].score)
        if score >= 1:
            break
    return score, usd


def _oracle(row: OutcomeRow, tiers: Sequence[str]) -> tuple[float, float]:
    """The cheapest of the best answers, known in hindsight."""
    found = min((row.tiers[tier] for tier in tiers), key=lambda o: (-o.score, o.usd))
    return found.score, found.usd
