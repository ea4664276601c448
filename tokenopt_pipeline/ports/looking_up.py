"""References that are searched, and the tools a model may call. Protocols of at most four methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from tokenopt_pipeline.domain.embedding_use import EmbeddingUse
from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRules, RegisteredSource, ServedIndex, StoredReference
from tokenopt_pipeline.domain.probes import Calibration, Probe
from tokenopt_pipeline.domain.ranking import Lists
from tokenopt_pipeline.domain.references import Chunk, Recipe
from tokenopt_pipeline.domain.run_views import BlockOutcome, RuleFindings, RunBlock
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.tools import Tool, Toolbox, ToolCall, ToolOutcome


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


class EmbeddingLedger(Protocol):
    """What vendors are paid for vectors."""

    def use(self, embedder: str, texts: Sequence[str]) -> AbstractContextManager[EmbeddingUse]:
        """Books one request: its intent before the block, what it is billed after it; nothing when it was refused.

        Raises BudgetExceeded, or PriceUnknown where a budget has to be kept.
        """
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


class ReferenceReading(Protocol):
    """References as runs are planned with them."""

    def find(self, name: str) -> StoredReference:
        """The reference as it is registered now. Raises NotFound."""
        ...

    def whole(self, name: str) -> str:
        """The reference as a model is shown it whole. Raises NotFound."""
        ...

    def serving(self, name: str) -> ServedIndex | None:
        """The index that serves the reference; None when there is none."""
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

    def rules(self, index: ServedIndex) -> IndexedRules:
        """Every rule of the index, and what rules do not speak for."""
        ...

    def chunks(self, index: ServedIndex, chunk_nos: Sequence[int]) -> list[IndexedChunk]:
        """The chunks of these numbers, ascending."""
        ...


class RuleSearch(Protocol):
    """Search of the references that a run's schema names."""

    def search(self, run: Run, query: str, *, limit: int) -> RuleFindings:
        """At most `limit` rules, the best first."""
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
