"""Batches: who takes them, how they are read, and what is stored of them. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from tokenopt_pipeline.domain.batch_results import ResultCounts
from tokenopt_pipeline.domain.batches import Batch, BatchOutcome, ProviderBatch
from tokenopt_pipeline.domain.packs import OpenPack
from tokenopt_pipeline.domain.priming import PrimingBatch
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard


class BatchMaker(Protocol):
    """A provider that takes batches. Raises TokenOptError and nothing else, and retries nothing."""

    def line(self, request_id: str, request: ModelRequest) -> bytes:
        """The request as it stands in a batch: the same body that a call of its own would have."""
        ...

    def create(self, *, tag: str, model: str, lines: Sequence[bytes], timeout_s: float) -> ProviderBatch:
        """Has a batch made, once. When this raises TransientError, the provider may have it all the same."""
        ...

    def listed(self, *, since: datetime, timeout_s: float) -> list[ProviderBatch]:
        """Everybody's batches under the same key that were created since, as the provider tells them."""
        ...

    def cancel(self, batch_id: str, *, timeout_s: float) -> None:
        """Asks for its end; what is done by then stays."""
        ...


class BatchReader(Protocol):
    """The same provider's side of reading. Raises TokenOptError and nothing else, and retries nothing."""

    def look(self, batch_id: str, *, timeout_s: float) -> ProviderBatch:
        """How the batch stands. Raises RequestRejected when the provider has none of this id."""
        ...

    def download(self, batch_id: str, to: Path, *, timeout_s: float, most_bytes: int | None = None) -> bool | None:
        """Writes the results, a line per request, byte for byte, or the first bytes of them.

        Says whether a stand-in sent them, None when there are none. What came before an error stays in the file.
        """
        ...

    def id_in(self, line: bytes) -> str:
        """The id of the request that a line of results is about. Raises ValueError for a line that cannot be read."""
        ...

    def response(self, line: str, request: ModelRequest, *, simulated: bool) -> ModelResponse:
        """The answer in a line of results, read as one to a call of its own.

        Raises what that call would have raised; TransientError for a request that was not carried out.
        """
        ...


class BatchProvider(BatchMaker, BatchReader, Protocol):
    """Both sides."""


class ResultFile(Protocol):
    """Results of a batch, downloaded."""

    @property
    def simulated(self) -> bool:
        """Whether a stand-in sent them."""
        ...

    @property
    def broken(self) -> str | None:
        """Why the lines ended early, once they were read; None: they did not."""
        ...

    def lines(self) -> Iterator[tuple[str | None, str | None]]:
        """(id, text) of every line. No id: it cannot be read; no text: it is about no request of the batch."""
        ...


class ResultFiles(Protocol):
    """Where results are downloaded to."""

    def fetched(
        self, reader: BatchReader, batch: Batch, *, timeout_s: float
    ) -> AbstractContextManager[ResultFile | None]:
        """The results of an ended batch, for as long as the context is open; None: the provider has none."""
        ...

    def key_in_results(self, reader: BatchReader, batch_id: str, *, timeout_s: float) -> str | None:
        """The key that the ids in a batch's results begin with; empty when they are not ours, None when there is no id."""
        ...


class BatchSupply(Protocol):
    """Whom batches can be given to."""

    def batches(self, provider: str, kind: RunKind) -> BatchProvider | None:
        """The provider's batches; None when it takes none, has no key, or is not of this kind: a stand-in knows no other's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentPack:
    """An open pack that waits for a batch."""

    pack: OpenPack
    #: How many its blocks have been in.
    batches: int
    #: How many of those left its blocks unanswered, and brought no turn of a conversation.
    rounds: int
    #: Whether its calls are within what was reserved for its conversation.
    is_reserved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedCall:
    """A call that is to go into a batch."""

    pack: OpenPack
    fingerprint: str
    usd_ceiling: Decimal | None
    #: Whether it is within what was reserved for the pack's conversation.
    is_reserved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedCall:
    """A call of a batch that is under way, and the provider's line about it."""

    call_no: int
    pack: OpenPack
    #: Whether the pack has no answer yet.
    is_open: bool
    #: What the request was.
    fingerprint: str
    #: Whether there has been a conversation about the pack, be it that it gave up.
    has_talked: bool
    line: str
    simulated: bool


class BatchIntents(Protocol):
    """Intents: written before a provider is asked for anything."""

    def unsent(self, shard: Shard) -> list[UnsentPack]:
        """Open packs of the shard that go in batches and are in none now, oldest first."""
        ...

    def intend(
        self, run: Run, calls: Sequence[IntendedCall], *, round_no: int, n_bytes: int, primes: str | None, now: datetime
    ) -> tuple[Batch, list[int]]:
        """Commits the intent to have a batch of these calls made, or of the first of them that the run's budget has room for.

        Gives the batch and the numbers of its calls. Raises, with nothing written, RunCancelled or BudgetExceeded.
        """
        ...

    def asking(self, batch: Batch, *, now: datetime) -> bool:
        """Commits that the provider is about to be asked; False when somebody has been faster."""
        ...

    def set_mode(self, packs: Sequence[int], *, mode: str, reason: str) -> int:
        """Open packs are asked in another mode from now on; how many."""
        ...


class BatchPrimings(Protocol):
    """Who has gone first for others, and what follows for their prefix."""

    def priming(self, run: Run) -> list[PrimingBatch]:
        """Batches of the run that go first for others, and that their provider may have had."""
        ...

    def unkeep(self, packs: Sequence[int], *, reason: str) -> int:
        """Open packs ask no more for their prefix to be kept; how many."""
        ...


class BatchBook(Protocol):
    """Where batches stand."""

    def open_batches(self, shard: Shard | None = None) -> list[Batch]:
        """Batches that are not closed, oldest first; of one shard or of all."""
        ...

    def submitted(self, batch: Batch, batch_id: str, *, is_adopted: bool, now: datetime, look_at: datetime) -> bool:
        """Stores the provider's id; False when the batch is no intent any more."""
        ...

    def ended(
        self, batch: Batch, outcome: BatchOutcome, *, n_done: int | None, problem: str | None, now: datetime
    ) -> bool:
        """Stores that nothing of it is under way any more; False when that was known."""
        ...

    def noted(
        self,
        batch: Batch,
        *,
        look_at: datetime,
        now: datetime,
        n_done: int | None = None,
        problem: str | None = None,
        is_unseen: bool = False,
        not_ours: Sequence[str] = (),
        downloads: int = 0,
    ) -> None:
        """Stores what a look told."""
        ...


class BatchImports(Protocol):
    """Results, from the file to the calls they belong to."""

    def import_results(
        self, batch: Batch, lines: Iterable[tuple[str | None, str | None]], *, simulated: bool, now: datetime
    ) -> ResultCounts:
        """Stores the first line of every request that has none yet, in one transaction; nothing when reading `lines` fails.

        Lines are (id, text); no id: it cannot be read; no text: it is about no request of this batch.
        """
        ...

    def under_way(self, batch: Batch, *, after: int, most: int) -> list[BatchedCall]:
        """Calls of the batch that are not ended and have a line, by number, from after that number on."""
        ...

    def close(self, batch: Batch, *, error_class: str, message: str, may_be_billed: bool, now: datetime) -> int:
        """Ends calls without an answer, whose packs stay open, and closes the batch, in one transaction; how many calls."""
        ...

    def taken(self, provider: str, *, since: datetime) -> set[str]:
        """Ids at the provider that belong to batches of ours."""
        ...
