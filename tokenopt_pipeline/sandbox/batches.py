"""Every batch of one sandbox: what was asked, when it ends and how, and what became of each item.

Nothing here knows a provider's words: a `BatchParty` answers items and writes results in its own shape.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from tokenopt_pipeline.sandbox.batch_faults import BatchFault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject


class End(StrEnum):
    """How a batch ends."""

    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class OutcomeKind(StrEnum):
    """What becomes of an item."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one item."""

    kind: OutcomeKind
    status: int = 200
    """HTTP status the same request would have got."""
    body: JsonObject = field(default_factory=dict)
    """The answer, or the provider's error."""


@dataclass(slots=True, kw_only=True)
class BatchItem:
    """One request of a batch."""

    custom_id: str
    body: bytes
    """What a call would have sent; gone once answered."""
    metadata: Json = None
    """Google's, given back with the answer."""
    fault: BatchFault | None = None


class ResultLine(NamedTuple):
    """One line of results, without its newline."""

    kind: OutcomeKind
    line: bytes


class BatchParty(Protocol):
    """The provider a batch belongs to."""

    @property
    def provider(self) -> str:
        """Its name."""

    @property
    def keeps(self) -> frozenset[End]:
        """The ends after which there are results."""

    @property
    def ordered(self) -> bool:
        """Whether results come in the order of the requests."""

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says, billed."""

    def failed(self) -> Outcome:
        """An error of the provider's own, for an item that is to have one."""

    def line(self, batch: Batch, item: BatchItem, outcome: Outcome) -> bytes:
        """The item's line of results, without its newline."""

    def close(self, batch: Batch) -> None:
        """Make whatever appears when a batch has ended."""

    def event(self, batch: Batch) -> tuple[str, JsonObject] | None:
        """Type and data of the webhook that says so; None where the provider has none."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch, from its creation on; moments are simulated seconds since the epoch."""

    id: str
    key: str
    """Whose it is."""
    party: BatchParty
    items: list[BatchItem]
    created_s: float
    finish_s: float
    """When all items would be done."""
    expires_s: float
    ends_s: float
    end: End
    fault: BatchFault | None
    tags: JsonObject
    """What the caller attached, and what else the provider shows of its creation."""
    errors: list[Json] = field(default_factory=list)
    """Why the whole batch failed."""
    cancel_s: float | None = None
    settled: bool = False
    """Whether its items have their outcomes."""
    deleted: bool = False
    results: list[ResultLine] = field(default_factory=list)
    """Lines as they are delivered."""
    outputs: JsonObject = field(default_factory=dict)
    """What the party made when it ended: names of files, sums."""
    counts: Counter[OutcomeKind] = field(default_factory=Counter)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def done_items(self, moment_s: float) -> int:
        """How many items are worked off at `moment_s`."""
        if self.fault is BatchFault.BATCH_EXPIRED or self.end is End.FAILED:
            return 0
        taking_s = self.finish_s - self.created_s
        share = 1.0 if taking_s <= 0 else (moment_s - self.created_s) / taking_s
        return max(0, min(len(self.items), int(len(self.items) * share + 1e-9)))

    def progress(self, moment_s: float) -> int:
        """How many items a live count shows as done at `moment_s`."""
        stuck = sum(item.fault is BatchFault.ITEM_EXPIRED for item in self.items) if self.end is End.EXPIRED else 0
        return min(len(self.items) - stuck, self.done_items(moment_s))

    def cancel(self, now_s: float, cancelling_s: float) -> None:
        """Stop what has not been worked off."""
        self.cancel_s = now_s
        self.end = End.CANCELLED
        self.ends_s = now_s + cancelling_s

    def as_json(self) -> JsonObject:
        """What `GET /control/batches` shows."""
        return {
            "provider": self.party.provider,
            "id": self.id,
            "items": len(self.items),
            "created_s": self.created_s,
            "ends_s": self.ends_s,
            "end": self.end.value,
            "ended": self.settled,
            "deleted": self.deleted,
            "outcomes": {kind.value: count for kind, count in self.counts.items()},
            "tags": self.tags,
        }


class BatchBook:
    """The batches of every provider of one sandbox."""

    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}

    def add(self, batch: Batch) -> None:
        """Remember `batch`."""
        self._batches[batch.id] = batch

    def find(self, provider: str, identifier: str, key: str) -> Batch | None:
        """The batch, if it is this key's and not deleted."""
        batch = self._batches.get(identifier)
        if batch is None or batch.party.provider != provider or batch.key != key or batch.deleted:
            return None
        return batch

    def of(self, provider: str, key: str) -> list[Batch]:
        """This key's batches that are not deleted, newest first."""
        found = [batch for batch in self if batch.party.provider == provider and batch.key == key and not batch.deleted]
        return found[::-1]

    def __iter__(self) -> Iterator[Batch]:
        """Oldest first, deleted ones included."""
        return iter(list(self._batches.values()))
