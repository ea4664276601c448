"""When packs go in batches and what becomes of blocks that batches leave unanswered: settings, and the decision per pack."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tokenopt_pipeline.domain.batches import LIMITS, supports_batches

#: A conversation takes two batches at least: one whose model calls tools, and one that answers.
FEWEST_TURNS = 2
#: The low end of what Anthropic says of batches' requests that find a kept prefix; guide read 2026-08.
LEAST_HIT_SHARE = 0.3


def _setting(default: Any, why: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "why": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """Batches at half price whose answers take up to a day."""

    deadline_h: float = _setting(
        0.0,
        "hours the answers may take; mode auto sends batches when a provider ends its own in time; 0: nobody counts them",
        0.0,
        720.0,
    )
    min_packs: int = _setting(20, "mode auto sends no batch of fewer packs", 1, 100_000)
    rounds: int = _setting(3, "batches that may leave a block unanswered; turns of conversations are no such", 1, 10)
    finish_sync: bool = _setting(True, "ask what the last round left in sync mode; false lets it fail")
    prime: bool = _setting(
        True,
        "where a prefix is kept for money, one request goes first in a batch of its own, and the others find it kept",
    )
    #: One public report, read 2026-11: none of 138 requests of a cold batch found it, and all of a primed one. The provider
    #: says 30 to 98 % of both.
    cold_hit_share: float = _setting(0.0, "expected: requests that find a prefix which the same batch keeps", 0.0, 1.0)
    primed_hit_share: float = _setting(
        1.0, "expected: requests that find a prefix which an earlier batch kept", 0.0, 1.0
    )
    #: What every vendor's batch page promises; read 2026-11.
    price_share: float = _setting(0.5, "of the list price, where the list has no price for batches", 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How a pack's answer comes, and why in one sentence."""

    name: str
    reason: str


def choose_mode(
    policy: BatchPolicy,
    *,
    asked: str,
    provider: str,
    packs: int,
    usd_sync: Decimal | None,
    usd_batch: Decimal | None,
    converses: bool = False,
) -> Mode:
    """The mode of packs that go to one model of this provider. `asked` is the run's: sync, async or auto.

    `packs` is how many of the run's packs go there; the dollars are what they are expected to cost either way, None when unknown;
    `converses`: models have tools, and each turn takes a batch.
    """
    if asked == "sync":
        return Mode(name="sync", reason="The run was asked for in sync mode.")
    if not supports_batches(provider):
        return Mode(name="sync", reason=f"Provider {provider} takes no batches.")
    if asked == "async":
        return Mode(name="async", reason="The run was asked for in async mode.")
    most_h = longest_h(provider, converses=converses)
    if policy.deadline_h < most_h:
        batches = f"a conversation's {FEWEST_TURNS} batches" if converses else "a batch"
        return Mode(
            name="sync",
            reason=f"Answers may take {policy.deadline_h:g} h, and {batches} at {provider} may take {most_h} h.",
        )
    if packs < policy.min_packs:
        return Mode(name="sync", reason=f"Only {packs} packs go there, and a batch takes {policy.min_packs} or more.")
    if usd_sync is not None and usd_batch is not None and usd_batch >= usd_sync:
        return Mode(
            name="sync", reason=f"In batches they would cost ${usd_batch:.4f} there, and ${usd_sync:.4f} in calls."
        )
    return Mode(
        name="async",
        reason=f"{packs} packs go there, and answers may take {policy.deadline_h:g} h, so they go in batches at a lower price.",
    )


def longest_h(provider: str, *, converses: bool) -> int:
    """Hours that an answer may take in batches, as mode auto counts them: with tools, two batches one after the other."""
    return LIMITS[provider].expires_h * (FEWEST_TURNS if converses else 1)


def batches_in_a_row(policy: BatchPolicy, *, max_turns: int | None, is_primed: bool) -> tuple[int, int]:
    """(Batches that an answer is expected to take, one after the other, and at most).

    `max_turns` is of conversations; None: no tools. A batch that brings a turn is none of `rounds`, which the plain call after a
    conversation may still take. `is_primed`: most answers wait for the batch of the one that goes first.
    """
    expected, most = (1, 0) if max_turns is None else (min(FEWEST_TURNS, max_turns), max_turns)
    return expected + is_primed, most + policy.rounds + is_primed


def primes(policy: BatchPolicy, provider: str, *, converses: bool) -> bool:
    """Whether a request goes first for the others, whose answers then take a batch more, one after the other."""
    hours = LIMITS[provider].expires_h + longest_h(provider, converses=converses)
    has_time = not policy.deadline_h or policy.deadline_h >= hours
    return policy.prime and has_time and policy.primed_hit_share > policy.cold_hit_share


def hit_share(policy: BatchPolicy, provider: str, *, mode: str, converses: bool) -> float:
    """The share of requests after the first that are expected to find a prefix kept for money."""
    if mode != "async":
        return 1.0
    return policy.primed_hit_share if primes(policy, provider, converses=converses) else policy.cold_hit_share


def out_of_time(policy: BatchPolicy, *, provider: str, age_h: float) -> str | None:
    """Why a conversation of this age has no further turn in a batch; None: it has.

    What a batch may take counts beforehand, so that the deadline is kept.
    """
    expires_h = LIMITS[provider].expires_h
    if not policy.deadline_h or age_h + expires_h <= policy.deadline_h:
        return None
    return f"it began {age_h:.1f} h ago, and one more batch at {provider} may take {expires_h} h"


def after_last_round(policy: BatchPolicy, *, rounds: int) -> Mode | None:
    """What becomes of a pack whose blocks so many batches have left unanswered; None: it goes into the next one.

    A batch that brought a turn of the pack's conversation is not among them: `bridge.max_turns` bounds those.
    """
    if rounds < policy.rounds:
        return None
    left = f"After {rounds} of {policy.rounds} batches"
    if policy.finish_sync:
        return Mode(name="sync", reason=f"{left} it is asked in sync mode.")
    return Mode(name="fail", reason=f"{left} without an answer its blocks fail, as batches.finish_sync is false.")
