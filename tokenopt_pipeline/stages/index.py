"""Index: a reference's files become chunks, vectors and an index that serves; the same again does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.indexes import IndexOutcome, RegisteredSource, ServedIndex, lenders_of, lent_by
from tokenopt_pipeline.domain.probes import Probe, calibrate
from tokenopt_pipeline.domain.references import (
    Chunk,
    Recipe,
    ReferenceSource,
    check_reference_name,
    cut_chunks,
    sources_digest,
    whole_text,
)
from tokenopt_pipeline.ports import Embedder, EmbeddingStore, IndexStore, ReferenceStore, Tokenizer
from tokenopt_pipeline.stages.retrieve import Retrieval

#: Passages embedded between two commits: what an interruption makes pay twice at most.
BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """What building an index needs from outside."""

    references: ReferenceStore
    indexes: IndexStore
    embeddings: EmbeddingStore
    tokenizer: Tokenizer
    #: Searches what was built, for its probes.
    retrieval: Retrieval
    #: None: full text and rules only.
    embedder: Embedder | None
    #: What its embedder was paid so far.
    bill: Callable[[], EmbeddingBill] = EmbeddingBill

    def build(
        self,
        name: str,
        sources: Sequence[ReferenceSource],
        probes: Sequence[Probe],
        *,
        chunk_tokens: int,
        k: int,
        budget_tokens: int,
        recall_gate: float,
        now: datetime,
        rules: Sequence[str] = (),
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> IndexOutcome:
        """Registers the sources and puts an index of them into service, unless one of the same recipe serves.

        Whatever interrupts it, the other index serves on and the next call goes on where this one ended. `rules`: other
        references whose rules lend words to the searches for the probes, as they do in runs of a schema that names them all.
        """
        check_reference_name(name)
        self._refuse(name, sources, probes)
        lenders = self._lenders(name, rules)
        before = self.bill()
        with self.references.exclusive(name):
            recipe = Recipe(
                sources_digest=sources_digest(sources),
                chunk_tokens=chunk_tokens,
                embedder=None if self.embedder is None else self.embedder.name,
                dimension=None if self.embedder is None else self.embedder.dimension,
            )
            whole = [(source, whole_text(source)) for source in sources]
            self.references.register(
                name,
                [
                    RegisteredSource(
                        name=source.name, content_id=source.content_id, text=text, n_tokens=self.tokenizer.count(text)
                    )
                    for source, text in whole
                ],
                probes,
                sources_digest=recipe.sources_digest,
                now=now,
            )
            index = self.indexes.serving(name)
            was_current = index is not None and index.recipe_digest == recipe.digest
            embedded = reused = 0
            if index is None or not was_current:
                chunks = list(self._chunks(sources, chunk_tokens, progress))
                embedded, reused = self._embed(chunks, progress)
                progress("index", 0, 1)
                index = self.indexes.publish(name, recipe, chunks, now=now)
                progress("index", 1, 1)
            self._measure(
                index,
                probes,
                k=k,
                budget_tokens=budget_tokens,
                gate=recall_gate,
                lenders=lenders_of(index, lenders),
                progress=progress,
            )
        served = self.indexes.serving(name)
        assert served is not None  # published above
        notes = tuple(note for source in sources for note in source.notes)
        return IndexOutcome(
            index=served,
            was_current=was_current,
            embedded=embedded,
            reused=reused,
            notes=notes,
            bill=self.bill().less(before),
        )

    def _refuse(self, name: str, sources: Sequence[ReferenceSource], probes: Sequence[Probe]) -> None:
        if not sources:
            raise InvalidInput(f"reference {name!r}: there is no file to index")
        known = {source.name for source in sources}
        for probe in probes:
            for relevant in probe.relevant:
                if relevant not in known:
                    raise InvalidInput(f"reference {name!r}: a probe expects {relevant!r}, which is none of its files")

    def _lenders(self, name: str, rules: Sequence[str]) -> list[ServedIndex]:
        lenders = []
        for other in dict.fromkeys(rules):
            served = self.indexes.serving(other)
            if other == name:
                raise InvalidInput(f"reference {name!r} speaks for itself: only rules of others are lent to its probes")
            if served is None or served.is_stale:
                raise InvalidInput(
                    f"reference {other!r} has no index of its files, so it lends no rules to {name!r} yet"
                )
            if not served.n_rules:
                raise InvalidInput(f"reference {other!r} holds no rules that it could lend to {name!r}")
            lenders.append(served)
        return lenders

    def _chunks(
        self, sources: Sequence[ReferenceSource], chunk_tokens: int, progress: Callable[[str, int, int], None]
    ) -> Iterator[Chunk]:
        for nth, source in enumerate(sources, start=1):
            yield from cut_chunks(source, count=self.tokenizer.count, most_tokens=chunk_tokens)
            progress("chunk", nth, len(sources))

    def _embed(self, chunks: Sequence[Chunk], progress: Callable[[str, int, int], None]) -> tuple[int, int]:
        """(passages embedded now, passages known before)."""
        if self.embedder is None:
            return 0, 0
        name, dimension = self.embedder.name, self.embedder.dimension
        passages = {chunk.content_hash: chunk.passage for chunk in chunks}
        known = self.embeddings.known(name, dimension, list(passages))
        missing = [content_hash for content_hash in passages if content_hash not in known]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            vectors = self.embedder.documents([passages[each] for each in batch])
            self.embeddings.keep(name, dimension, dict(zip(batch, vectors, strict=True)))
            progress("embed", start + len(batch), len(missing))
        return len(missing), len(known)

    def _measure(
        self,
        index: ServedIndex,
        probes: Sequence[Probe],
        *,
        k: int,
        budget_tokens: int,
        gate: float,
        lenders: Sequence[ServedIndex],
        progress: Callable[[str, int, int], None],
    ) -> None:
        if not probes:
            return
        results = []
        for nth, probe in enumerate(probes, start=1):
            found = self.retrieval.probe(index, probe, k=k, budget_tokens=budget_tokens, lenders=lenders)
            results.append(found)
            progress("probe", nth, len(probes))
        silent = self.retrieval.can_be_silent(index, room_tokens=budget_tokens)
        measured = calibrate(results, gate=gate, can_be_silent=silent, lent_by=lent_by(lenders))
        self.indexes.calibrate(index, measured)
