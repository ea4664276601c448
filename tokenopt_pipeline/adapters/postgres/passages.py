"""Passages in Postgres: their vectors, kept once, and the searches of one index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import DictRow

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows, store_errors
from tokenopt_pipeline.adapters.postgres.index_tables import filled
from tokenopt_pipeline.adapters.postgres.references import passage_id
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.adapters.postgres.texts import storable
from tokenopt_pipeline.adapters.postgres.word_scores import AskedWord, best_by_words, elements
from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRule, IndexedRules, ServedIndex
from tokenopt_pipeline.domain.ranking import Lists
from tokenopt_pipeline.domain.triggers import Trigger, TriggerKind

if TYPE_CHECKING:
    import numpy as np

# Postings read for one query, the rarest words first: bounds its time in a large index.
_MOST_POSTINGS = 40_000
_LEAST_WIDTH = 100
# A query of more words is a text, not a name.
_MOST_WORDS_IN_NAME = 8
_MOST_NAMED = 10


class PostgresPassages:
    """`ports.EmbeddingStore` and `ports.ChunkSearch` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # How widely the connection looks for nearest vectors by now.
        self._width = 0
        #: Index -> the section of every chunk, in order: an index never changes, and looking fifty up takes a millisecond.
        self._sections: dict[int, np.ndarray] = {}

    def known(self, embedder: str, dimension: int, hashes: Sequence[str]) -> set[str]:
        """Of these content hashes, those with a vector of the embedder."""
        ids = {passage_id(each): each for each in hashes}
        found = rows(self._connection, "known_embeddings", embedder=embedder, dimension=dimension, hashes=list(ids))
        return {ids[each["content_hash"]] for each in found}

    def keep(self, embedder: str, dimension: int, vectors: Mapping[str, Sequence[float]]) -> None:
        """Stores content hash -> vector, all or nothing; what is known stays as it is."""
        with store_errors(), self._connection.transaction():
            change(self._connection, "create_new_embedding")
            with self._connection.cursor() as cursor, cursor.copy(statement("copy_embeddings")) as copy:
                for content_hash, vector in vectors.items():
                    copy.write_row((passage_id(content_hash), _vector(vector)))
            change(self._connection, "keep_new_embeddings", embedder=embedder, dimension=dimension)

    def lists(self, index: ServedIndex, *, words: str, name: str, vector: Sequence[float] | None, n: int) -> Lists:
        """The first n chunks by words, by meaning and by name. `vector` is None for an index without an embedder."""
        spoken = self._spoken(index, words, n)
        named = self._found("search_named", index, query=storable(name), most_words=_MOST_WORDS_IN_NAME, n=_MOST_NAMED)
        nearest = [] if vector is None else self._nearest("search_vectors", index, n, vector=_vector(vector))
        return Lists(
            words=tuple(spoken),
            meaning=tuple((each["chunk_no"], each["cosine"]) for each in nearest),
            named=tuple(each["chunk_no"] for each in named),
            sections={
                **self._sections_of(index, [chunk_no for chunk_no, _ in spoken]),
                **{each["chunk_no"]: each["section_no"] for each in nearest},
            },
        )

    def closer(
        self, index: ServedIndex, lists: Lists, *, vector: Sequence[float], first: Sequence[int], n: int
    ) -> Lists:
        """The lists with another meaning: the n chunks nearest to the vector moved towards the mean of the first results."""
        nearest = self._nearest("search_vectors_again", index, n, vector=_vector(vector), first=list(first))
        return replace(
            lists,
            meaning=tuple((each["chunk_no"], each["cosine"]) for each in nearest),
            sections={**lists.sections, **{each["chunk_no"]: each["section_no"] for each in nearest}},
        )

    def rules(self, index: ServedIndex) -> IndexedRules:
        """Every rule of the index, and what rules do not speak for."""
        found = [
            IndexedRule(
                chunk_no=each["chunk_no"],
                source_name=each["source_name"],
                heading=each["heading"],
                message=each["message"],
                trigger=_trigger(each["trigger"]),
            )
            for each in self._found("index_rules", index)
        ]
        undeciding = [rule.chunk_no for rule in found if not rule.trigger.decides]
        untold = self._found("untold_chunks", index, undeciding=undeciding)
        return IndexedRules(rules=tuple(found), untold={each["chunk_no"]: each["n_tokens"] for each in untold})

    def chunks(self, index: ServedIndex, chunk_nos: Sequence[int]) -> list[IndexedChunk]:
        """The chunks of these numbers, ascending."""
        found = self._found("index_chunks", index, chunk_nos=list(chunk_nos))
        return [IndexedChunk(**each) for each in found]

    def _spoken(self, index: ServedIndex, words: str, n: int) -> list[tuple[int, float]]:
        query = filled("search_words", index.index_no)
        with store_errors(), self._connection.cursor(binary=True) as cursor:
            cursor.execute(query, {"words": storable(words), "most_postings": _MOST_POSTINGS})
            asked = [AskedWord(**each) for each in cursor]
        return best_by_words(asked, n_chunks=index.n_chunks, n=n)

    def _sections_of(self, index: ServedIndex, chunk_nos: Sequence[int]) -> dict[int, int]:
        if chunk_nos and index.index_no not in self._sections:
            with store_errors(), self._connection.cursor(binary=True) as cursor:
                sent = cursor.execute(filled("index_sections", index.index_no)).fetchone()
            assert sent is not None  # an aggregate always has a row
            self._sections[index.index_no] = elements(sent["sections"], ">i4")
        return {chunk_no: int(self._sections[index.index_no][chunk_no - 1]) for chunk_no in chunk_nos}

    def _nearest(self, name: str, index: ServedIndex, n: int, **parameters: Any) -> list[DictRow]:
        if n > self._width:
            # Searched wider than asked: of the ten nearest of 20,000 mixed passages, 50 finds .81, 64 .85, and 100 .91.
            self._width = max(n, _LEAST_WIDTH)
            rows(self._connection, "search_width", n=str(self._width))
        return self._found(name, index, n=n, **parameters)

    def _found(self, name: str, index: ServedIndex, **parameters: Any) -> list[DictRow]:
        query: sql.Composed = filled(name, index.index_no)
        with store_errors():
            return self._connection.execute(query, parameters).fetchall()


def _vector(numbers: Sequence[float]) -> str:
    return "[" + ",".join(f"{number:.6g}" for number in numbers) + "]"


def _trigger(stored: Mapping[str, Any]) -> Trigger:
    listed = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    return Trigger(**{**stored, **listed, "kind": TriggerKind(stored["kind"])})
