"""Priming: of requests in batches that share a prefix, one goes first and the others find the prefix kept.

A batch's requests are worked off side by side, so that each of them may write the prefix. The one that goes first is one of
them, so that it costs nothing beside the hours of its batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tokenopt_pipeline.domain.batch_policy import BatchPolicy, primes
from tokenopt_pipeline.domain.caching import MARKED
from tokenopt_pipeline.domain.packs import OpenPack

# Of the hour for which a prefix is kept, as a batch that begins now does not ask all at once.
_STILL_KEPT = timedelta(minutes=48)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimingBatch:
    """A batch that goes first, as it is stored."""

    shard_no: int
    #: See `prefix_of`.
    key: str
    #: Whether it is not closed.
    is_open: bool
    ended_at: datetime | None
    #: Whether its request was billed for a prefix that is kept: it wrote it, or read it.
    has_kept: bool

    def is_warm(self, now: datetime) -> bool:
        """Whether a batch that begins now is expected to find the prefix."""
        has_ended = not self.is_open and self.ended_at is not None and now - self.ended_at < _STILL_KEPT
        return has_ended and self.has_kept


class Turn(StrEnum):
    """What a pack that waits for a batch does now."""

    GO = "go"
    FIRST = "first"
    WAIT = "wait"
    GO_PLAIN = "go plain"  # nobody would find the prefix, and everybody would pay for writing it


def prefix_of(pack: OpenPack) -> str:
    """What packs of one run have in common whose requests begin with the same prefix, and ask for it to be kept alike."""
    return f"{pack.route.model} {pack.origin.asks} {pack.carried.prefix_tokens} {pack.cache_ttl}"


def whose_turn(
    policy: BatchPolicy,
    *,
    key: str,
    ttl: str | None,
    provider: str,
    shard_no: int,
    waiting: int,
    converses: bool,
    known: Iterable[PrimingBatch],
    now: datetime,
) -> Turn:
    """Whether so many packs of a shard with one prefix go, or wait for the first of them.

    One goes first for all shards of the run, and their packs wait for it. When it has kept nothing, or its batch was looked at
    too late, the others of its shard do not ask for the prefix to be kept; `converses`: they do, since turns of theirs will
    come back to it. Every other shard then has one that goes first by itself, so that nobody waits for more than two batches.
    """
    if ttl not in MARKED or not primes(policy, provider, converses=converses):
        return Turn.GO
    ours = [batch for batch in known if batch.key == key]
    here = [batch for batch in ours if batch.shard_no == shard_no]
    if any(batch.is_open for batch in here) or (ours and all(batch.is_open for batch in ours)):
        return Turn.WAIT
    if any(batch.is_warm(now) for batch in ours):
        return Turn.GO
    if here or waiting < 2:
        return Turn.GO if converses else Turn.GO_PLAIN
    return Turn.FIRST
