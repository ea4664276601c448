"""Prompt caching: whether a shared prefix is worth keeping at the provider, for how long, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.policy import CachingPolicy
from tokenopt_pipeline.domain.usage import TokenUsage

#: Lifetimes of a mark, as packs and requests name them: the provider's shorter and longer one, or none to choose because it
#: caches by itself.
SHORT, LONG, AUTOMATIC = "5m", "1h", "auto"

#: Lifetimes of prefixes that are written for money, because a request asks for it.
MARKED = (SHORT, LONG)

# A prefix unused for so much of its lifetime is taken for cold, since clocks and queues differ.
_WARM_SHARE = 0.8
# Answers to packs of some thousand tokens take about so long; only the order of magnitude matters.
_CALL_S = 10.0
# Requests of one batch run spread over its hours: caching guides advise the long lifetime there (facts read 2026-08).
_BATCH_SPACING_S = 900.0
# So many requests that find nothing are no accident.
_MOST_IN_VAIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePrices:
    """What a prefix token costs in multiples of a plain one."""

    write_short: float
    write_long: float
    read: float


#: Anthropic's, where a model has no known price: its price page, read 2026-11.
USUAL_PRICES = CachePrices(write_short=1.25, write_long=2.0, read=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlan:
    """Whether requests share their prefix through the provider's cache."""

    #: None: they do not, so nothing is charged for writing. Else `SHORT`, `LONG` or `AUTOMATIC`.
    ttl: str | None
    #: One sentence.
    reason: str


def cache_prices(usd: Callable[[TokenUsage], Decimal | None], tokens: int) -> CachePrices | None:
    """The multiples behind a price list, for a prefix of so many tokens; None when plain input costs nothing."""
    size = max(tokens, 1)
    plain = usd(TokenUsage(input_uncached=size))
    short, long = usd(TokenUsage(cache_write_5m=size)), usd(TokenUsage(cache_write_1h=size))
    read = usd(TokenUsage(cache_read=size))
    if plain is None or short is None or long is None or read is None:
        return USUAL_PRICES
    if plain == 0:
        return None
    return CachePrices(write_short=float(short / plain), write_long=float(long / plain), read=float(read / plain))


def expected_spacing_s(*, requests: int, of_all: int, concurrency: int, mode: str) -> float:
    """Seconds between two uses of a prefix that so many of all a run's requests have."""
    if mode == "async":
        return _BATCH_SPACING_S
    return _CALL_S / concurrency * of_all / max(requests, 1)


def request_in_output_tokens(
    policy: CachingPolicy, model: ModelSpec, usd: Callable[[TokenUsage], Decimal | None], *, prefix_tokens: int
) -> float:
    """What one request less saves, in tokens of output: its prefix, at the price of reading it. Infinite without prices.

    A prefix that may be cached is taken to be.
    """
    shared = model.billed_tokens(prefix_tokens) + model.request_overhead_tokens
    is_cached = policy.enabled and shared >= model.cache_minimum_tokens
    prefix = usd(TokenUsage(cache_read=shared) if is_cached else TokenUsage(input_uncached=shared))
    output = usd(TokenUsage(output=shared))
    return math.inf if prefix is None or not output else float(prefix / output) * shared


def plan_cache(
    policy: CachingPolicy,
    model: ModelSpec,
    *,
    prefix_tokens: int,
    expected_requests: int,
    spacing_s: float = 0.0,
    prices: CachePrices | None = USUAL_PRICES,
    hit_share: float = 1.0,
) -> CachePlan:
    """The plan for a prefix of this length (our tokenizer's count) that so many requests of one run share.

    Written once for `w` plain prices and read by the others for `r`, a prefix costs w + (N−1)·r instead of N: a quarter more
    pays from two requests on, twice as much from three. Uses are taken to come at random, `spacing_s` apart in the mean, so
    that a share exp(−lifetime / spacing) of them comes too late and writes again. Of the others `hit_share` find it.
    """
    if not policy.enabled:
        return CachePlan(ttl=None, reason="Caching is off by policy.")
    if prices is None:
        return CachePlan(ttl=None, reason=f"Input costs nothing at {model.ref}, so there is nothing to save.")
    if expected_requests < 2:
        return CachePlan(ttl=None, reason="Only one request has this prefix, so a cache write would not pay.")
    expected = model.billed_tokens(prefix_tokens)
    if expected < model.cache_minimum_tokens:
        return CachePlan(
            ttl=None,
            reason=f"The prefix of about {expected} tokens is below {model.ref}'s minimum of {model.cache_minimum_tokens}.",
        )
    shared = f"{expected_requests} requests share a prefix of about {expected} tokens"
    if model.caches_by_itself:
        if prices.read >= 1:
            return CachePlan(ttl=None, reason=f"{shared}, but {model.ref} has no lower price for what it has cached.")
        return CachePlan(
            ttl=AUTOMATIC, reason=f"{shared}, which {model.ref} caches by itself, without a mark or a charge."
        )
    costs = {
        ttl: _expected_cost(
            expected_requests, spacing_s, lifetime_s, write=write, read=prices.read, hit_share=hit_share
        )
        for ttl, lifetime_s, write in (
            (SHORT, model.cache_short_s, prices.write_short),
            (LONG, model.cache_long_s, prices.write_long),
        )
    }
    ttl = min(costs, key=lambda each: costs[each])
    if costs[ttl] >= expected_requests:
        return CachePlan(
            ttl=None, reason=f"{shared} about {spacing_s:.0f} s apart: writing it again each time would cost more."
        )
    lives_s = model.cache_short_s if ttl == SHORT else model.cache_long_s
    return CachePlan(
        ttl=ttl,
        reason=f"{shared} about {spacing_s:.1f} s apart: kept for {lives_s} s it costs as much as {costs[ttl]:.1f} of them.",
    )


def _expected_cost(
    requests: int, spacing_s: float, lifetime_s: float, *, write: float, read: float, hit_share: float
) -> float:
    """What the prefix of all requests costs, in plain prices of one."""
    late = math.exp(-lifetime_s / spacing_s) if spacing_s > 0 else 0.0
    writes = 1 + (requests - 1) * (1 - hit_share * (1 - late))
    return writes * write + (requests - writes) * read


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixWarmth:
    """What answers have told of one prefix's cache entry. Times are monotonic seconds."""

    #: When a request that used it began; entries live from there (caching guide, read 2026-08).
    used_at_s: float = float("-inf")
    #: Requests in a row that should have found it and did not.
    in_vain: int = 0
    #: Why nobody waits for a leader any more; None while it is worth it.
    given_up: str | None = None

    def needs_leader(self, ttl: str, model: ModelSpec, now_s: float) -> bool:
        """Whether one request has to go ahead and warm the cache before others follow."""
        lifetime_s = model.cache_long_s if ttl == LONG else model.cache_short_s
        return self.given_up is None and now_s - self.used_at_s > lifetime_s * _WARM_SHARE

    def after(self, usage: TokenUsage, *, ttl: str, began_s: float, followed: bool) -> PrefixWarmth:
        """After an answer to a request that began at `began_s`; `followed`: the cache was taken for warm then."""
        if usage.cache_read:
            return PrefixWarmth(used_at_s=max(self.used_at_s, began_s))
        wrote = bool(usage.cache_write) or (ttl == AUTOMATIC and not followed)
        if wrote and not followed:
            return replace(self, used_at_s=max(self.used_at_s, began_s))
        in_vain = self.in_vain + 1
        if in_vain < _MOST_IN_VAIN or self.given_up is not None:
            return replace(self, in_vain=in_vain)
        why = "what was written was not found again" if usage.cache_write or ttl == AUTOMATIC else "nothing was written"
        return replace(self, in_vain=in_vain, given_up=f"{in_vain} requests in a row read nothing: {why}")


def dearest_usage(ttl: str | None, *, input_tokens: int, output_tokens: int) -> TokenUsage:
    """The most that a call which asks for this lifetime can be billed for: writing is the dearest way to read a prefix."""
    if ttl == LONG:
        return TokenUsage(cache_write_1h=input_tokens, output=output_tokens)
    if ttl == SHORT:
        return TokenUsage(cache_write_5m=input_tokens, output=output_tokens)
    return TokenUsage(input_uncached=input_tokens, output=output_tokens)
