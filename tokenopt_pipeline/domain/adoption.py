"""Adoption: which batch at a provider is the one we intended, when nobody stored its id.

No provider makes creating a batch idempotent, so a create whose answer is missing is never repeated on a guess: the batch is
looked for, and only what two listings a good while apart do not show is taken never to have existed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tokenopt_pipeline.domain.batches import Batch, BatchLimits, ProviderBatch

#: How much a provider's clock may be behind ours.
CLOCK_SKEW = timedelta(minutes=5)


class Verdict(StrEnum):
    """What a listing says of an intent."""

    OURS = "ours"  # by its tag
    ASK = "ask"  # a candidate has ended, and its results tell whose it is
    WAIT = "wait"  # a candidate is under way, or it is too early to say
    UNBORN = "unborn"  # the provider never had it


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A verdict and the batches it is about, the oldest first."""

    verdict: Verdict
    batch_ids: tuple[str, ...] = ()


def listing_reaches_back_to(asked_at: datetime) -> datetime:
    """Since when a provider's batches must be listed to find one that was asked for then."""
    return asked_at - CLOCK_SKEW


def sight(
    batch: Batch,
    listed: Iterable[ProviderBatch],
    *,
    limits: BatchLimits,
    taken: Collection[str],
    grace: timedelta,
    now: datetime,
) -> Sighting:
    """What a listing says of an intended batch.

    `taken` are ids that belong to other batches of ours. `grace` is longer than a create may take, so that one which is still
    on its way is not missed. Only for an intent whose maker is known to be gone, or to have no answer.
    """
    if batch.asked_at is None:
        return Sighting(verdict=Verdict.UNBORN)
    since = listing_reaches_back_to(batch.asked_at)
    found = {b.batch_id: b for b in listed if b.batch_id not in taken and b.batch_id not in batch.not_ours}
    in_time = sorted((b for b in found.values() if b.created_at >= since), key=lambda b: (b.created_at, b.batch_id))
    if limits.has_tags:
        ours = tuple(b.batch_id for b in in_time if b.tag == batch.tag)
        if ours:
            return Sighting(verdict=Verdict.OURS, batch_ids=ours)
    else:
        candidates = [b for b in in_time if b.n_requests in (None, batch.n_requests)]
        ended = tuple(b.batch_id for b in candidates if b.outcome is not None)
        if ended:
            return Sighting(verdict=Verdict.ASK, batch_ids=ended)
        if candidates:
            return Sighting(verdict=Verdict.WAIT, batch_ids=tuple(b.batch_id for b in candidates))
    if now - batch.asked_at < grace or batch.unseen_since is None or now - batch.unseen_since < grace:
        return Sighting(verdict=Verdict.WAIT)
    return Sighting(verdict=Verdict.UNBORN)
