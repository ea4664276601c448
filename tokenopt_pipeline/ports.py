"""What the stages need from outside, as Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.documents import BlockType, ReadDocument
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.outputs import DecodedAnswer
from tokenopt_pipeline.domain.packing import PackableBlock, PackLimits, PlannedPack
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.retries import NextStep
from tokenopt_pipeline.domain.routing import ModelRef, Route
from tokenopt_pipeline.domain.runs import RunKind, ShardSpan
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.usage import CallAssumptions, TokenUsage

# --- values that cross a port ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it was planned; nothing of it changes but its state."""

    run_no: int
    run_id: str
    collection: str
    schema: ExtractionSchema
    #: Our tokenizer's count of the schema's system prompt.
    prompt_tokens: int
    policy: Policy
    policy_hash: str
    mode: str
    kind: RunKind
    state: str
    n_blocks: int
    n_shards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard of a run."""

    run_no: int
    shard_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOutcome:
    """What ingesting one document changed."""

    document_id: str
    n_blocks: int
    #: The bytes were not in the database before.
    is_new_document: bool
    #: The collection's entry under this name is new or points to other bytes than before.
    changed_collection: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlock:
    """A kept block that is in no pack yet."""

    packable: PackableBlock
    type: BlockType


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPack:
    """A pack to be stored."""

    planned: PlannedPack
    route: Route
    cache_ttl: str | None
    cache_reason: str
    limits: PackLimits
    #: Attempts each block had spoilt before, in the pack's order.
    attempts: tuple[int, ...]
    output_scale: int = 1
    parent_pack_no: int | None = None
    #: How many splits stand between this pack and its first ancestor.
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPack:
    """A stored pack that has not been answered."""

    pack_no: int
    shard: Shard
    route: Route
    cache_ttl: str | None
    cache_reason: str
    input_tokens: int
    output_tokens: int
    max_tokens: int
    output_scale: int
    generation: int
    #: Tries of its request so far, answered or not.
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackMember:
    """A block of a pack, in the pack's order."""

    block_no: int
    ordinal: int
    type: BlockType
    text: str
    tokens: int
    attempts_before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCall:
    """Everything that is stored, in one transaction, when a call was answered."""

    call_no: int
    pack: OpenPack
    members: Sequence[PackMember]
    request_fingerprint: str
    #: None when the provider refused the request itself, so that nothing was billed.
    response: ModelResponse | None
    usd: Decimal | None
    latency_ms: int
    assumptions: CallAssumptions
    answer: DecodedAnswer
    next_step: NextStep
    again: Sequence[NewPack]
    error_class: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannableBlock:
    """A block as planning sees it: no text."""

    facts: BlockFacts
    #: Counted by our tokenizer.
    tokens: int
    #: Equal for blocks that would be asked the same.
    content: str
    #: An identical block has an answer already.
    is_known: bool


# --- what the stages call ----------------------------------------------------------------------------------------


class Tokenizer(Protocol):
    """Counts tokens; the count is stored with the text and never made twice."""

    def count(self, text: str) -> int:
        """Tokens of the text by our tokenizer, which is nobody's in particular."""
        ...


class Provider(Protocol):
    """One vendor's models, or something that speaks like one."""

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        """One call, without any retry. Safe to call from several threads.

        Raises TransientError, RequestRejected, ContextWindowExceeded or FatalForRun, and nothing else.
        """
        ...


class Prices(Protocol):
    """List prices."""

    def usd(self, model: ModelRef, usage: TokenUsage) -> Decimal | None:
        """Dollars at list price; None when no price is known."""
        ...


class Models(Protocol):
    """The model table."""

    def spec(self, ref: ModelRef) -> ModelSpec:
        """What is known of the model. Raises NotFound for a model or provider that is not in the table."""
        ...


class AnswerValidators(Protocol):
    """JSON Schema validation."""

    def check_schema(self, schema: ExtractionSchema) -> None:
        """Raises SchemaInvalid when the answer schema is not a JSON Schema."""
        ...

    def violation_of(self, schema: ExtractionSchema) -> Callable[[Mapping[str, object]], str | None]:
        """A function that says in one line what is wrong with one block's values; None when nothing is."""
        ...


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


class RunStore(Protocol):
    """Runs and their shards."""

    def create(
        self,
        *,
        run_id: str,
        collection: str,
        schema: ExtractionSchema,
        schema_source: Mapping[str, object],
        prompt_tokens: int,
        policy: Policy,
        policy_hash: str,
        policy_sources: Mapping[str, str],
        inputs_digest: str,
        answer_recipe: str,
        mode: str,
        kind: RunKind,
        spans: Sequence[ShardSpan],
        now: datetime,
    ) -> Run:
        """Stores a run, its documents and shards in one transaction; the open run of equal inputs if there is one."""
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
    """Blocks of a shard, from enrolment to decision."""

    def enrol(self, shard: Shard) -> int:
        """Gives every block of the shard its pending overlay; how many there are, old and new."""
        ...

    def undecided_facts(self, shard: Shard, *, words_cap: int) -> list[BlockFacts]:
        """Every distinct combination of facts among the blocks without a decision."""
        ...

    def decide(
        self, shard: Shard, verdicts: Mapping[BlockFacts, Decision], *, words_cap: int, reuse: bool
    ) -> Mapping[str, int]:
        """Stores a decision for every undecided block and skips the skipped; rule id -> blocks, of the whole shard."""
        ...

    def exclusive(self, shard: Shard) -> AbstractContextManager[None]:
        """Holds the shard for this process. Raises ShardBusy when another holds it; dies with the process."""
        ...


class PackStore(Protocol):
    """Packs of a shard."""

    def kept_blocks(self, shard: Shard) -> Iterator[KeptBlock]:
        """Kept blocks that are in no pack yet, in document order."""
        ...

    def add(self, shard: Shard, packs: Iterator[NewPack], *, now: datetime) -> int:
        """Stores packs and marks their blocks submitted, in one transaction; how many were added."""
        ...

    def open_packs(self, shard: Shard) -> list[OpenPack]:
        """Packs without an answer, oldest first."""
        ...

    def members(self, pack_no: int) -> list[PackMember]:
        """The pack's blocks with their texts, in order."""
        ...


class CallStore(Protocol):
    """Calls: intent before, everything else after."""

    def begin(self, pack: OpenPack, *, fingerprint: str, usd_ceiling: Decimal | None, now: datetime) -> int:
        """Commits the intent to call and gives its number.

        Raises BudgetExceeded, with nothing written, when spent, reserved and this call together pass the run's budget.
        """
        ...

    def settle(self, call: AnsweredCall, *, now: datetime) -> None:
        """Stores answer, ledger row, findings and what is asked again, in one transaction."""
        ...

    def fail(self, call_no: int, *, error_class: str, message: str, now: datetime) -> None:
        """Stores that a try got no answer; its pack stays open."""
        ...


class OverlayStore(Protocol):
    """The outputs."""

    def reconcile(self, shard: Shard) -> Mapping[str, int]:
        """Moves every block whose story has ended into its final state; status -> blocks, of the whole shard."""
        ...


class Readers(Protocol):
    """Files to typed blocks."""

    def __call__(self, name: str, content: bytes) -> ReadDocument:
        """Raises DocumentUnreadable."""
        ...


class Clock(Protocol):
    """Time, read at the edges."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Returns after so many seconds."""
        ...


class PlanningStore(Protocol):
    """Blocks before there is a run."""

    def blocks(self, collection: str, *, answer_recipe: str) -> Iterator[PlannableBlock]:
        """Today's blocks of the collection in document order, streamed."""
        ...
