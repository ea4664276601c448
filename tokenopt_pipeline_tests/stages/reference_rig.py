"""References on a real database, with an embedder whose vectors follow from the words and which counts what it embeds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tokenopt_pipeline.adapters.chunking import read_reference
from tokenopt_pipeline.adapters.patterns import find
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.adapters.postgres.passages import PostgresPassages
from tokenopt_pipeline.adapters.postgres.references import PostgresReferences
from tokenopt_pipeline.domain.indexes import IndexOutcome
from tokenopt_pipeline.domain.probes import Probe
from tokenopt_pipeline.stages.index import Indexing
from tokenopt_pipeline.stages.retrieve import Retrieval

NOW = datetime(2026, 11, 25, tzinfo=UTC)

#: Name -> content of a small reference: two rules and two pages.
GUIDE = {
    "Style/Contractions.yml": (
        "{extends: existence, message: \"Use contractions instead of '%s'.\", level: error, ignorecase: true, "
        "tokens: [are not, is not]}"
    ),
    "Style/Very.yml": "{extends: existence, message: \"Don't write '%s'.\", level: suggestion, tokens: [very]}",
    "pages/numbers.md": "# Numbers\n\nSpell out whole numbers from zero through nine.\n\n## Dates\n\nWrite the month in full.",
    "pages/lists.md": "# Bulleted lists\n\nKeep items of a list parallel in structure.",
}


@dataclass(slots=True, kw_only=True)
class CountingEmbedder:
    """`ports.Embedder`: a bag of hashed words, at length 1."""

    name: str = "counting"
    dimension: int = 16
    embedded: list[str] = field(default_factory=list)
    #: Fails after so many texts, as a process does that is killed; None: never.
    dies_after: int | None = None

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        self.embedded += texts
        if self.dies_after is not None and len(self.embedded) > self.dies_after:
            raise KeyboardInterrupt
        return [self.query(text) for text in texts]

    def query(self, text: str) -> list[float]:
        vector = [1e-3] * self.dimension
        for word in text.lower().split():
            vector[hashlib.sha256(word.encode()).digest()[0] % self.dimension] += 1
        length = math.hypot(*vector)
        return [number / length for number in vector]


class Words:
    """`ports.Tokenizer`: a word is a token."""

    def count(self, text: str) -> int:
        return len(text.split())


@dataclass(slots=True, kw_only=True)
class ReferenceRig:
    """Builds and searches on one connection."""

    connection: Connection
    embedder: CountingEmbedder | None = field(default_factory=CountingEmbedder)

    @property
    def references(self) -> PostgresReferences:
        return PostgresReferences(self.connection)

    @property
    def search(self) -> PostgresPassages:
        return PostgresPassages(self.connection)

    @property
    def retrieval(self) -> Retrieval:
        def embedder_for(name: str, dimension: int) -> CountingEmbedder:
            return CountingEmbedder(name=name, dimension=dimension)

        return Retrieval(search=self.search, embedder_for=embedder_for, find=find)

    def build(
        self,
        files: dict[str, str] | None = None,
        *,
        name: str = "guide",
        probes: Sequence[Probe] = (),
        tokens: int = 50,
        rules: Sequence[str] = (),
    ) -> IndexOutcome:
        indexing = Indexing(
            references=self.references,
            indexes=self.references,
            embeddings=self.search,
            tokenizer=Words(),
            retrieval=self.retrieval,
            embedder=self.embedder,
        )
        sources = [read_reference(each, content.encode()) for each, content in (files or GUIDE).items()]
        return indexing.build(
            name, sources, probes, chunk_tokens=tokens, k=3, budget_tokens=10, recall_gate=0.9, now=NOW, rules=rules
        )

    def tables(self) -> set[str]:
        """Names of the tables that belong to one index each."""
        found = self.connection.execute(
            "select tablename from pg_tables where tablename ~ '^reference_[0-9]+_'"
        ).fetchall()
        return {each["tablename"] for each in found}
