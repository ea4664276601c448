"""Prompt caching: whether a shared prefix is worth marking, for how long, and why."""

from __future__ import annotations

from dataclasses import dataclass

from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import CachingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """Whether requests carry a cache mark at the end of their shared prefix."""

    #: None: no mark, so nothing is charged for writing. Else `5m` or `1h`.
    ttl: str | None
    #: One sentence.
    reason: str


def plan_cache(policy: CachingPolicy, model: ModelSpec, *, prefix_tokens: int, expected_requests: int) -> CachePlan:
    """The plan for a prefix of this length (our tokenizer's count) that so many requests of one run share.

    A write costs a quarter more than plain input, so a prefix that one request uses is never marked.
    """
    if not policy.enabled:
        return CachePlan(ttl=None, reason="Caching is off by policy.")
    if expected_requests < 2:
        return CachePlan(ttl=None, reason="Only one request has this prefix, so a cache write would not pay.")
    expected = model.billed_tokens(prefix_tokens)
    if expected < model.cache_minimum_tokens:
        return CachePlan(
            ttl=None,
            reason=f"The prefix of about {expected} tokens is below {model.ref}'s minimum of {model.cache_minimum_tokens}.",
        )
    return CachePlan(ttl="5m", reason=f"{expected_requests} requests share a prefix of about {expected} tokens.")
