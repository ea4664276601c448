"""What submitting, watching and receiving batches share: the ports, and what a look at a provider tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tokenopt_pipeline.domain.adoption import Verdict, listing_reaches_back_to, sight
from tokenopt_pipeline.domain.batches import LIMITS, Batch, BatchOutcome, ProviderBatch, look_again_s
from tokenopt_pipeline.ports import (
    BatchBook,
    BatchImports,
    BatchIntents,
    BatchPrimings,
    BatchProvider,
    BatchSupply,
    Clock,
    ResultFiles,
)

#: For one look, one listing, one request to cancel.
LOOK_S = 10.0
#: A create that was sent has come or gone for good by its own time and this.
_GRACE_BEYOND_TIMEOUT_S = 30.0
# What was not found in so many times the life of a batch would have no results any more.
_GIVE_UP_AFTER = 2
# Candidates whose results are looked into at once; the others wait for the next look.
_MOST_ASKED = 5


@dataclass(slots=True, kw_only=True)
class Batching:
    """Batches of a process."""

    intents: BatchIntents
    book: BatchBook
    primings: BatchPrimings
    imports: BatchImports
    files: ResultFiles
    supply: BatchSupply
    clock: Clock

    def look_at(self, batch: Batch) -> datetime:
        """When to look at the batch again."""
        now = self.clock.now()
        age_s = (now - batch.intended_at).total_seconds()
        return now + timedelta(seconds=look_again_s(age_s))

    def resolve(self, batch: Batch, provider: BatchProvider, listed: list[ProviderBatch], *, timeout_s: float) -> str:
        """Finds out what became of an intent whose maker is gone, or got no answer; what it is now, in a word.

        `listed` reaches back to the intent; `timeout_s` is what a create was given. Only with the shard held: whoever makes
        a batch holds it.
        """
        now = self.clock.now()
        since = listing_reaches_back_to(batch.asked_at or batch.intended_at)
        seen = sight(
            batch,
            listed,
            limits=LIMITS[batch.provider],
            taken=self.imports.taken(batch.provider, since=since - timedelta(days=3)),
            grace=timedelta(seconds=timeout_s + _GRACE_BEYOND_TIMEOUT_S),
            now=now,
        )
        if seen.verdict is Verdict.OURS:
            # A second one under the same tag would be a create that somebody repeated. Nobody here does.
            self.adopt(batch, seen.batch_ids[0])
            return "adopted"
        expires = timedelta(hours=_GIVE_UP_AFTER * LIMITS[batch.provider].expires_h)
        if seen.verdict is Verdict.UNBORN or now - batch.intended_at > expires:
            why = "the provider does not have it" if batch.asked_at else "the provider was never asked"
            self.book.ended(batch, BatchOutcome.UNBORN, n_done=0, problem=why, now=now)
            return "unborn"
        not_ours: list[str] = []
        if seen.verdict is Verdict.ASK:
            for batch_id in seen.batch_ids[:_MOST_ASKED]:
                key = self.files.key_in_results(provider, batch_id, timeout_s=LOOK_S)
                if key == batch.key:
                    self.adopt(batch, batch_id)
                    return "adopted"
                if key is not None:
                    not_ours.append(batch_id)
        is_unseen = not seen.batch_ids or len(not_ours) == len(seen.batch_ids)
        self.book.noted(
            batch,
            look_at=self.look_at(batch),
            now=now,
            problem="nobody knows yet whether the provider has it",
            is_unseen=is_unseen,
            not_ours=not_ours,
        )
        return "waiting"

    def adopt(self, batch: Batch, batch_id: str) -> None:
        """The provider's batch is the one that was intended."""
        self.book.submitted(batch, batch_id, is_adopted=True, now=self.clock.now(), look_at=self.clock.now())

    def told(self, batch: Batch, seen: ProviderBatch, provider: BatchProvider) -> bool:
        """Stores what the provider tells of a submitted batch; whether it has ended."""
        if seen.outcome is not None:
            now = self.clock.now()
            # A prefix that it keeps is older than the look that finds it ended.
            at = now if seen.ended_at is None else min(seen.ended_at, now)
            return self.book.ended(batch, seen.outcome, n_done=seen.n_done, problem=seen.reason, now=at)
        if batch.is_unwanted:
            provider.cancel(seen.batch_id, timeout_s=LOOK_S)
        self.book.noted(batch, look_at=self.look_at(batch), now=self.clock.now(), n_done=seen.n_done)
        return False
