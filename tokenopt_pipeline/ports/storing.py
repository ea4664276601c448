"""What is stored of documents, runs, packs, calls and outputs. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.answer_lengths import AnswerSample
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.consequences import Choice
from tokenopt_pipeline.domain.documents import BlockType, IngestOutcome, ReadDocument
from tokenopt_pipeline.domain.kept_prefixes import KeptPrefix
from tokenopt_pipeline.domain.learning import CountedCall, PrefixedCall
from tokenopt_pipeline.domain.packs import KeptBlock, NewPack, OpenPack, PackMember, PlannableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.retries import AskedAgain
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import NewRun, Run, RunKind, Shard


class CollectionStore(Protocol):
    """Documents and blocks."""

    def add_document(
        self,
        *,
        collection: str,
        source_name: str,
        content_id: str,
        n_bytes: int,
        document: ReadDocument,
        token_counts: Sequence[int],
        now: datetime,
    ) -> IngestOutcome:
        """Stores a document and its blocks under a name, all or nothing; the same bytes again change nothing."""
        ...

    def document_ids(self, collection: str) -> list[tuple[str, int]]:
        """(document id, number of blocks) of today's documents, in the order of their names. Raises NotFound."""
        ...

    def knows(self, content_id: str) -> bool:
        """Whether the document's blocks are stored already."""
        ...


class PlanningStore(Protocol):
    """Blocks before there is a run."""

    def blocks(self, collection: str, *, answer_recipe: str) -> Iterator[PlannableBlock]:
        """Today's blocks of the collection in document order, streamed."""
        ...


class RunStore(Protocol):
    """Runs and their shards."""

    def create(self, new: NewRun, *, now: datetime) -> Run:
        """Stores a run, its documents and shards in one transaction; the open run of equal inputs if there is one.

        Raises InvalidInput when the collection has changed since the run was planned.
        """
        ...

    def open_run(self, inputs_digest: str) -> Run | None:
        """The unfinished run of these inputs."""
        ...

    def find(self, run_id: str) -> Run:
        """Raises NotFound."""
        ...

    def close_if_done(self, run_no: int, *, now: datetime) -> bool:
        """Marks an open run complete when every block's story has ended; whether it is complete now."""
        ...


class ShardStore(Protocol):
    """Blocks of a shard, until something is decided about them."""

    def count(self, shard: Shard) -> int:
        """How many blocks the run's documents have in the shard."""
        ...

    def undecided_facts(self, shard: Shard, *, words_cap: int) -> list[BlockFacts]:
        """Every distinct combination of facts among the blocks without a decision."""
        ...

    def decide(
        self, shard: Shard, verdicts: Mapping[BlockFacts, Decision], *, words_cap: int, reuse: bool
    ) -> Mapping[str, int]:
        """Gives every undecided block its overlay with its decision; rule id -> blocks, of the whole shard."""
        ...

    def exclusive(self, shard: Shard) -> AbstractContextManager[None]:
        """Holds the shard for this process. Raises ShardBusy when another holds it; dies with the process."""
        ...


class ContextStore(Protocol):
    """What packs carry of references."""

    def keep(self, texts: Mapping[str, str]) -> None:
        """Stores text id -> text, all or nothing; what is known stays as it is."""
        ...

    def texts(self, text_ids: Sequence[str]) -> list[str]:
        """The texts in the order of their ids."""
        ...

    def blocks(self, block_nos: Sequence[int]) -> Mapping[int, tuple[BlockType, str]]:
        """Block number -> its type and text."""
        ...


class PackStore(Protocol):
    """Packs of a shard."""

    def kept_blocks(self, shard: Shard) -> Iterator[KeptBlock]:
        """Kept blocks that are in no pack yet, in document order."""
        ...

    def add(self, shard: Shard, packs: Iterator[NewPack], *, refused: Mapping[int, str], now: datetime) -> int:
        """Stores packs and marks their blocks submitted, in one transaction; how many were added.

        `refused`: block -> why it fits into no request; such blocks fail.
        """
        ...

    def open_packs(self, shard: Shard) -> list[OpenPack]:
        """Packs without an answer, oldest first."""
        ...

    def members(self, pack_no: int) -> list[PackMember]:
        """The pack's blocks with their texts, in order."""
        ...


class SplitLedger(Protocol):
    """What splits cost."""

    def asked_again(self, run_no: int) -> AskedAgain:
        """What splits have cost the run so far."""
        ...


class CallStore(SplitLedger, Protocol):
    """Calls: intent before, everything else after."""

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        """Commits the intent to call and gives its number.

        Raises BudgetExceeded, with nothing written, when spent, reserved and this call together pass the run's budget.
        """
        ...

    def settle(self, call: AnsweredCall, *, now: datetime) -> None:
        """Stores answer, ledger row, findings and what is asked again, in one transaction."""
        ...

    def supersede(self, call: AnsweredCall, *, now: datetime) -> None:
        """Stores an answer that came after its pack had got another one: billed, and nobody's output."""
        ...

    def fail(self, call_no: int, *, error_class: str, message: str, may_be_billed: bool, now: datetime) -> None:
        """Stores that a try got no answer; its pack stays open. One that may be billed keeps counting at its ceiling."""
        ...

    def leave(self, pack: OpenPack, *, instead: Sequence[NewPack], chosen: Mapping[int, Choice], now: datetime) -> None:
        """Settles a pack that is not asked, in one transaction: each of its blocks is in another pack instead, or an
        earlier answer is its output."""
        ...


class PrefixLedger(Protocol):
    """Prefixes that are kept for runs: intent before, everything else after."""

    def living(self, run_no: int, *, now: datetime) -> list[KeptPrefix]:
        """What providers keep for the run now."""
        ...

    def begin(
        self, run: Run, prefix: Prefix, *, usd_ceiling: Decimal, expires_at: datetime, now: datetime
    ) -> int | None:
        """Commits the intent to have it kept; None when another process has it or the run's budget has no room."""
        ...

    def settle(self, kept: KeptPrefix, *, usd: Decimal | None) -> None:
        """Stores that it is kept, or kept for longer, and what that cost."""
        ...

    def end(self, prefix_no: int, *, message: str | None, now: datetime) -> None:
        """Stores that it is kept no longer, or, with the reason, that the provider did not take it."""
        ...


class LearningStore(Protocol):
    """What earlier calls have shown."""

    def counted(self, ref: ModelRef, *, kind: RunKind, schema_hash: str | None, most: int) -> list[CountedCall]:
        """The newest answered calls to the model, of one kind of run and, unless None, of one schema."""
        ...

    def answers(self, ref: ModelRef, *, kind: RunKind, schema_hash: str, form: str, most: int) -> list[AnswerSample]:
        """The newest answered blocks of the schema on the model, asked in the form by one kind of run."""
        ...

    def prefixed(self, prefix: Prefix, ref: ModelRef, *, kind: RunKind, most: int) -> list[PrefixedCall]:
        """The newest calls of one kind of run to the model with this prefix."""
        ...


class OverlayStore(Protocol):
    """The outputs."""

    def reconcile(self, shard: Shard) -> Mapping[str, int]:
        """Moves every block whose story has ended into its final state; status -> blocks, of the whole shard."""
        ...
