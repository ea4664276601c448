"""Reviews: who said what of an answer, and what confirmed blocks say of how right each tier's answers were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tokenopt_pipeline.domain.checks import is_empty
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.outcomes import OutcomeRow, TierOutcome
from tokenopt_pipeline.domain.routing import RouteFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """Who reviews, when, and what they say of it."""

    name: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedAnswer:
    """A model's answer to a block that was reviewed, in this run or in another one of the same schema."""

    block_uid: str
    run_id: str
    facts: RouteFacts
    tier: str
    model: str
    #: This block's share of all calls that asked it; None when a price is unknown.
    usd: float | None
    staged: Mapping[str, object]
    #: What a person confirmed in this run; None when nobody did.
    confirmed: Mapping[str, object] | None
    doubts: frozenset[str]


def rows_of_reviews(answers: Sequence[ReviewedAnswer]) -> tuple[list[OutcomeRow], dict[str, str]]:
    """(One row per reviewed block that every tier answered, tier -> model.)

    Raises InvalidInput when a tier stands for two models, two runs asked a block at the same tier, nothing was reviewed, or
    a price is unknown.
    """
    confirmed = {a.block_uid: a.confirmed for a in answers if a.confirmed is not None}
    if not confirmed:
        raise InvalidInput("none of the runs has a confirmed block: there is nothing to learn from")
    models: dict[str, str] = {}
    found: dict[str, dict[str, ReviewedAnswer]] = {}
    for answer in answers:
        if models.setdefault(answer.tier, answer.model) != answer.model:
            raise InvalidInput(
                f"tier {answer.tier} stands for {models[answer.tier]} and for {answer.model}: fit them apart"
            )
        if answer.block_uid not in confirmed:
            continue
        tiers = found.setdefault(answer.block_uid, {})
        if answer.tier in tiers:
            other = tiers[answer.tier].run_id
            raise InvalidInput(
                f"runs {other} and {answer.run_id} both asked block {answer.block_uid} at tier {answer.tier}"
            )
        if answer.usd is None:
            raise InvalidInput(
                f"run {answer.run_id}: model {answer.model} has no known price, so nothing can be weighed"
            )
        tiers[answer.tier] = answer
    rows = [
        OutcomeRow(
            query_id=uid,
            facts=next(iter(tiers.values())).facts,
            tiers={
                tier: TierOutcome(score=agreement(a.staged, confirmed[uid]), usd=a.usd or 0.0, doubts=a.doubts)
                for tier, a in tiers.items()
            },
        )
        for uid, tiers in sorted(found.items())
        if len(tiers) == len(models)
    ]
    if not rows:
        raise InvalidInput(f"no reviewed block was answered by every tier: {', '.join(models)}")
    return rows, models


def agreement(staged: Mapping[str, object], confirmed: Mapping[str, object] | None) -> float:
    """Share of the fields that the review left as they were, of those that either says something about; 1 when none does."""
    kept = {name: value for name, value in (confirmed or {}).items() if not is_empty(value)}
    said = {name: value for name, value in staged.items() if not is_empty(value)}
    names = {*kept, *said}
    if not names:
        return 1.0
    # Compared as text, because to Python 1, 1.0 and true are equal.
    same = sum(canonical_json(kept.get(name)) == canonical_json(said.get(name)) for name in names)
    return same / len(names)
