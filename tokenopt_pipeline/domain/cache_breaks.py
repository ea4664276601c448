"""Cache breaks: why a call did not read its prefix from the provider's cache, told from the ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CacheOutcome(StrEnum):
    """What became of a call's prefix. Every call has exactly one."""

    HIT = "hit"  # read from the cache
    NOT_SHARED = "not_shared"  # the plan gave it no mark; its pack says why
    FIRST = "first"  # nobody had used the prefix before
    PREFIX_CHANGED = "prefix_changed"  # the same model was in use with another prefix
    MODEL_CHANGED = "model_changed"  # the same texts were in use with another model
    WRITE_UNDER_WAY = "write_under_way"  # the first call of the prefix had not ended yet
    TTL_PASSED = "ttl_passed"  # the last use was longer ago than an entry lives
    BELOW_MINIMUM = "below_minimum"  # nothing was written though it was marked: shorter than the provider's minimum
    FORGOTTEN = "forgotten"  # the entry should have been there


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """One answered call, as far as its prefix is concerned."""

    call_no: int
    #: Part -> its digest, with `model` among them; None: from before it was kept.
    prefix: Mapping[str, str] | None
    #: The mark; None: none.
    ttl: str | None
    #: Why the plan gave it that mark, or none.
    plan_reason: str
    #: How long an entry with that mark lives after its last use.
    lifetime_s: float
    began_at: datetime
    ended_at: datetime
    #: Of the prefix, expected; None when nobody kept it.
    prefix_tokens: int | None
    #: The provider's minimum.
    minimum_tokens: int
    cache_read: int
    cache_write: int
    #: The provider caches by itself, so that nothing shows that an entry was written.
    is_automatic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFinding:
    """What became of one call's prefix, and why in one sentence."""

    call_no: int
    outcome: CacheOutcome
    detail: str


def explain_cache(uses: Iterable[CacheUse]) -> list[CacheFinding]:
    """A finding per call, in the order the calls began. What began before the first of them is taken not to exist."""
    ordered = sorted(uses, key=lambda use: (use.began_at, use.call_no))
    return [_finding(use, ordered[:i]) for i, use in enumerate(ordered)]


def cache_summary(findings: Sequence[CacheFinding]) -> dict[str, dict[str, object]]:
    """Outcome -> how many calls, and the newest of them in one sentence; the most frequent first."""
    counts = Counter(finding.outcome for finding in findings)
    newest = {finding.outcome: finding for finding in findings}
    return {
        outcome.value: {"calls": n, "newest": newest[outcome].call_no, "why": newest[outcome].detail}
        for outcome, n in counts.most_common()
    }


def _finding(use: CacheUse, earlier: Sequence[CacheUse]) -> CacheFinding:
    outcome, detail = _outcome(use, earlier)
    return CacheFinding(call_no=use.call_no, outcome=outcome, detail=detail)


def _outcome(use: CacheUse, earlier: Sequence[CacheUse]) -> tuple[CacheOutcome, str]:
    if use.cache_read:
        return CacheOutcome.HIT, f"{use.cache_read} tokens were read."
    if use.ttl is None or use.prefix is None:
        return CacheOutcome.NOT_SHARED, use.plan_reason
    if not use.cache_write and not use.is_automatic:
        about = "unknown length" if use.prefix_tokens is None else f"about {use.prefix_tokens} tokens"
        return CacheOutcome.BELOW_MINIMUM, f"A prefix of {about} was not written; the minimum is {use.minimum_tokens}."
    same = [other for other in earlier if other.prefix == use.prefix and other.ttl is not None]
    ended = [other for other in same if other.ended_at <= use.began_at]
    if ended:
        return _lost(use, max(ended, key=lambda other: other.began_at))
    if same:
        return CacheOutcome.WRITE_UNDER_WAY, f"Call {same[0].call_no}, which wrote it first, had not ended."
    return _new_prefix(use, earlier)


def _lost(use: CacheUse, last: CacheUse) -> tuple[CacheOutcome, str]:
    idle_s = (use.began_at - last.began_at).total_seconds()
    if idle_s > use.lifetime_s:
        return (
            CacheOutcome.TTL_PASSED,
            f"The last use was {idle_s:.0f} s before; an entry lives {use.lifetime_s:.0f} s.",
        )
    return (
        CacheOutcome.FORGOTTEN,
        f"Call {last.call_no} used it {idle_s:.0f} s before, within the {use.lifetime_s:.0f} s it lives.",
    )


def _new_prefix(use: CacheUse, earlier: Sequence[CacheUse]) -> tuple[CacheOutcome, str]:
    """Why nobody had used this very prefix: what the nearest other one differs in."""
    assert use.prefix is not None
    known = [other for other in earlier if other.prefix is not None and other.ttl is not None]
    for other in reversed(known):
        changed = _differences(use.prefix, other.prefix or {})
        if changed == ["model"]:
            return (
                CacheOutcome.MODEL_CHANGED,
                f"Call {other.call_no} had the same prefix with {(other.prefix or {})['model']}.",
            )
    for other in reversed(known):
        changed = _differences(use.prefix, other.prefix or {})
        if "model" not in changed:
            return CacheOutcome.PREFIX_CHANGED, f"Since call {other.call_no} another {' and another '.join(changed)}."
    return CacheOutcome.FIRST, "No call before used it."


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(part for part in {*one, *other} if one.get(part) != other.get(part))
