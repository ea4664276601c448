"""Fallback: which declared model is asked when the preferred one cannot answer; never silently, never across a wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Obstacle(StrEnum):
    """Why a model cannot answer."""

    UNAVAILABLE = "unavailable"  # it could not be reached, or failed on its side, as often as the policy tries
    UNKNOWN = "unknown"  # the provider does not know it, or the key may not use it
    UNPRICED = "unpriced"  # no list price is known and the policy asks for one
    OVER_LIMITS = "over_limits"  # the request does not fit into its context or passes its rate limits
    REFUSED = "refused"  # it declined to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackPolicy:
    """How far a request may move from the model that its tier prefers."""

    #: Models after the preferred one that may be tried for one request; 0: none.
    max_hops: int = 2
    #: Providers that may answer at all; None: every one that a tier names.
    allowed_providers: tuple[str, ...] | None = None
    #: Whether a request may move to another provider than its preferred model's.
    cross_provider: bool = True

    def chain(self, models: Sequence[str]) -> tuple[str, ...]:
        """The models of a tier that may follow its preferred one, in order. `models` is the tier's list, preferred first."""
        preferred, *others = models
        allowed = [ref for ref in others if self.barrier(preferred, ref) is None]
        return tuple(allowed[: self.max_hops])

    def barrier(self, preferred: str, ref: str) -> str | None:
        """Why the policy forbids this model as a fallback, in a clause; None when it does not."""
        provider = _provider(ref)
        if self.allowed_providers is not None and provider not in self.allowed_providers:
            return f"provider {provider} is not among the allowed ones: {', '.join(self.allowed_providers)}"
        if not self.cross_provider and provider != _provider(preferred):
            return f"the policy forbids to cross from {_provider(preferred)} to {provider}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackStep:
    """What follows when a model cannot answer."""

    #: The model to ask next; None when none is left.
    model: str | None
    #: Hops from the preferred model: 1 for the first fallback.
    hops: int
    #: One sentence a person can check.
    reason: str


def next_model(policy: FallbackPolicy, models: Sequence[str], *, failed: str, obstacle: Obstacle) -> FallbackStep:
    """The step after `failed`, one of the tier's `models` (preferred first), could not answer.

    Raises ValueError when `failed` is not one of them.
    """
    preferred = models[0]
    chain = (preferred, *policy.chain(models))
    if failed not in models:
        raise ValueError(f"{failed} is not among the tier's models: {', '.join(models)}")
    hops = chain.index(failed) + 1 if failed in chain else len(chain)
    if hops < len(chain):
        reason = f"{failed} is {_WORDS[obstacle]}, so {chain[hops]} is asked, hop {hops} of at most {policy.max_hops}."
        return FallbackStep(model=chain[hops], hops=hops, reason=reason)
    return FallbackStep(
        model=None, hops=hops - 1, reason=f"{failed} is {_WORDS[obstacle]}, and {_why_none(policy, models, hops - 1)}."
    )


_WORDS = {
    Obstacle.UNAVAILABLE: "not available",
    Obstacle.UNKNOWN: "not known to its provider",
    Obstacle.UNPRICED: "without a known price",
    Obstacle.OVER_LIMITS: "over its limits",
    Obstacle.REFUSED: "refusing to answer",
}


def _why_none(policy: FallbackPolicy, models: Sequence[str], hops: int) -> str:
    preferred, *others = models
    if not others:
        return "its tier names no other model"
    if hops >= policy.max_hops:
        return f"the policy's {policy.max_hops} hops are used"
    barriers = [f"{ref}: {why}" for ref in others if (why := policy.barrier(preferred, ref)) is not None]
    return "no further model is allowed" + (f" ({'; '.join(barriers)})" if barriers else "")


def _provider(ref: str) -> str:
    return ref.partition("/")[0]
