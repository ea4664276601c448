"""What the stages need from outside, as Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.documents import IngestOutcome, ReadDocument
from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRule, RegisteredSource, ServedIndex, StoredReference
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.packs import KeptBlock, NewPack, OpenPack, PackMember, PlannableBlock
from tokenopt_pipeline.domain.prefilter import BlockFacts, Decision
from tokenopt_pipeline.domain.probes import Calibration, Probe
from tokenopt_pipeline.domain.ranking import Lists
from tokenopt_pipeline.domain.references import Chunk, Recipe
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.run_views import BlockOutcome, RuleFindings, RunBlock
from tokenopt_pipeline.domain.runs import NewRun, Run, Shard
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.tools import Tool, Toolbox, ToolCall, ToolOutcome
from tokenopt_pipeline.domain.usage import TokenUsage


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


class ToolHost(Protocol):
    """The tool servers of a policy, for as long as a run works with them."""

    def tools(self) -> Toolbox:
        """The allowed tools of all servers, which are connected to now if they are not yet.

        Raises ToolServerUnavailable, or InvalidInput when a server lacks an allowed tool or declares one unusably.
        """
        ...

    def call(self, calls: Sequence[ToolCall], *, timeout_s: float) -> Mapping[str, ToolOutcome]:
        """Call id -> outcome of every call, made side by side; whatever goes wrong is an outcome that is an error.

        Safe to call from several threads. Returns soon after `timeout_s` at the latest.
        """
        ...

    def close(self) -> None:
        """Ends every connection and process. Again, it does nothing."""
        ...


class ToolSchemas(Protocol):
    """Validation of what tools are given and give back."""

    def arguments_violation(self, tool: Tool, arguments: Mapping[str, object]) -> str | None:
        """What is wrong with the arguments, in one line; None when nothing is."""
        ...

    def result_violation(self, tool: Tool, structured: object) -> str | None:
        """The same for a structured result of a tool that declares an output schema."""
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

    def sleep(self, seconds: float, *, unless: Callable[[], bool]) -> None:
        """Returns after so many seconds, or soon after `unless` has become true."""
        ...


class PlanningStore(Protocol):
    """Blocks before there is a run."""

    def blocks(self, collection: str, *, answer_recipe: str) -> Iterator[PlannableBlock]:
        """Today's blocks of the collection in document order, streamed."""
        ...


class Embedder(Protocol):
    """Texts to vectors of length 1. Equal texts give equal vectors, whatever they are embedded with."""

    @property
    def name(self) -> str:
        """What its vectors are stored under: other weights or settings have another name."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    def documents(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector per text, in order. Raises TransientError, RequestRejected or FatalForRun."""
        ...

    def query(self, text: str) -> Sequence[float]:
        """The vector of what is looked for. Raises what `documents` raises."""
        ...


class EmbeddingStore(Protocol):
    """Vectors that were paid for, by what was embedded and by what."""

    def known(self, embedder: str, dimension: int, hashes: Sequence[str]) -> set[str]:
        """Of these content hashes, those with a vector of the embedder."""
        ...

    def keep(self, embedder: str, dimension: int, vectors: Mapping[str, Sequence[float]]) -> None:
        """Stores content hash -> vector, all or nothing; what is known stays as it is."""
        ...


class ReferenceStore(Protocol):
    """References as they are registered."""

    def register(
        self,
        name: str,
        sources: Sequence[RegisteredSource],
        probes: Sequence[Probe],
        *,
        sources_digest: str,
        now: datetime,
    ) -> None:
        """Replaces what is known of a reference, all or nothing."""
        ...

    def find(self, name: str) -> StoredReference:
        """The reference as it is registered now. Raises NotFound."""
        ...

    def probes(self, name: str) -> list[Probe]:
        """The reference's probes in their order. Raises NotFound."""
        ...

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Holds the reference for this process. Raises ReferenceBusy when another holds it; dies with the process."""
        ...


class IndexStore(Protocol):
    """Indexes of references, one of which serves."""

    def serving(self, name: str) -> ServedIndex | None:
        """The index that serves the reference; None when there is none."""
        ...

    def publish(self, name: str, recipe: Recipe, chunks: Sequence[Chunk], *, now: datetime) -> ServedIndex:
        """Builds an index of chunks whose vectors are known and puts it into service, all or nothing."""
        ...

    def calibrate(self, index: ServedIndex, calibration: Calibration) -> None:
        """Keeps what the index's probes measured."""
        ...


class ChunkSearch(Protocol):
    """Searches of one index."""

    def lists(self, index: ServedIndex, *, words: str, name: str, vector: Sequence[float] | None, n: int) -> Lists:
        """The first n chunks by words, by meaning and by name. `vector` is None for an index without an embedder."""
        ...

    def closer(
        self, index: ServedIndex, lists: Lists, *, vector: Sequence[float], first: Sequence[int], n: int
    ) -> Lists:
        """The lists with another meaning: the n chunks nearest to the vector moved towards the mean of the first results."""
        ...

    def rules(self, index: ServedIndex) -> list[IndexedRule]:
        """Every rule of the index, in its order."""
        ...

    def chunks(self, index: ServedIndex, chunk_nos: Sequence[int]) -> list[IndexedChunk]:
        """The chunks of these numbers, ascending."""
        ...


class RunReading(Protocol):
    """One run as tools may see it. Nothing is changed, and nothing of another run is readable. Safe for several threads."""

    @property
    def run(self) -> Run:
        """The run as it was planned."""
        ...

    def blocks(self, *, start: int, count: int) -> list[RunBlock]:
        """The run's blocks from that ordinal on, in document order; long texts are cut."""
        ...

    def outcomes(self, uid: str) -> list[BlockOutcome]:
        """The block's outcome first, then those of the answered blocks before it in its document, the nearest first.

        Empty when the block is not in the run.
        """
        ...


class RuleSearch(Protocol):
    """Search of the references that a run's schema names."""

    def search(self, run: Run, query: str, *, limit: int) -> RuleFindings:
        """At most `limit` rules, the best first."""
        ...
