"""References and their indexes in Postgres: a new index is built beside the serving one and takes over at once or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json, Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.index_tables import filled, run
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.adapters.postgres.texts import storable
from tokenopt_pipeline.domain.errors import NotFound, ReferenceBusy
from tokenopt_pipeline.domain.indexes import RegisteredSource, ServedIndex, StoredReference
from tokenopt_pipeline.domain.probes import Calibration, Probe, Threshold
from tokenopt_pipeline.domain.references import Chunk, Recipe


class PostgresReferences:
    """`ports.ReferenceStore` and `ports.IndexStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register(
        self,
        name: str,
        sources: Sequence[RegisteredSource],
        probes: Sequence[Probe],
        *,
        sources_digest: str,
        now: datetime,
    ) -> None:
        """Replaces what is known of a reference, all or nothing. Its serving index is stale from then on if they differ."""
        with store_errors(), self._connection.transaction():
            found = row(self._connection, "upsert_reference", name=name, sources_digest=sources_digest, now=now)
            assert found is not None  # an upsert returns its row
            number = found["reference_no"]
            change(self._connection, "delete_reference_sources", reference_no=number)
            with self._connection.cursor() as cursor, cursor.copy(statement("copy_reference_sources")) as copy:
                for position, source in enumerate(sources):
                    text = storable(source.text)
                    copy.write_row((number, source.name, position, source.content_id, text, source.n_tokens))
            change(self._connection, "delete_reference_probes", reference_no=number)
            for position, probe in enumerate(probes):
                change(
                    self._connection,
                    "insert_reference_probe",
                    reference_no=number,
                    position=position,
                    query=storable(probe.query),
                    relevant=list(probe.relevant),
                )

    def find(self, name: str) -> StoredReference:
        """The reference as it is registered now. Raises NotFound."""
        found = self._found(name)
        return StoredReference(
            name=name,
            sources_digest=found["sources_digest"],
            n_sources=found["n_sources"],
            n_tokens=found["n_tokens"],
        )

    def names(self) -> list[str]:
        """Every registered reference, by name."""
        return [found["name"] for found in rows(self._connection, "reference_names")]

    def probes(self, name: str) -> list[Probe]:
        """The reference's probes in their order. Raises NotFound."""
        found = rows(self._connection, "reference_probes", reference_no=self._found(name)["reference_no"])
        return [Probe(query=each["query"], relevant=tuple(each["relevant"])) for each in found]

    def whole(self, name: str) -> str:
        """The reference as a model is shown it whole. Raises NotFound."""
        found = rows(self._connection, "reference_text", reference_no=self._found(name)["reference_no"])
        return "\n\n".join(each["text"] for each in found)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Holds the reference for this process. Raises ReferenceBusy when another holds it; dies with the process."""
        try:
            with self._connection.transaction():
                rows(self._connection, "patience_for_locks")
                rows(self._connection, "lock_reference", name=name)
        except psycopg.errors.LockNotAvailable:
            raise ReferenceBusy(f"reference {name!r} is being indexed by another process") from None
        try:
            yield
        finally:
            if not self._connection.closed:
                rows(self._connection, "release_reference_lock", name=name)

    def serving(self, name: str) -> ServedIndex | None:
        """The index that serves the reference; None when there is none."""
        found = row(self._connection, "serving_index", name=name)
        return None if found is None else _index(name, found)

    def publish(self, name: str, recipe: Recipe, chunks: Sequence[Chunk], *, now: datetime) -> ServedIndex:
        """Builds an index of chunks whose vectors are known and puts it into service, in one transaction.

        Until that ends, and if it does not, the other index serves. Raises NotFound for a reference that is not registered.
        """
        reference_no = self._found(name)["reference_no"]
        with store_errors(), self._connection.transaction():
            announced = row(
                self._connection,
                "insert_index",
                reference_no=reference_no,
                recipe_digest=recipe.digest,
                sources_digest=recipe.sources_digest,
                chunk_tokens=recipe.chunk_tokens,
                embedder=recipe.embedder,
                dimension=recipe.dimension,
                n_chunks=len(chunks),
                n_sections=len({(chunk.source_name, chunk.section_no) for chunk in chunks}),
                n_rules=sum(chunk.trigger is not None for chunk in chunks),
                now=now,
            )
            assert announced is not None  # an insert returns its row
            index_no = announced["index_no"]
            self._build(index_no, recipe, chunks)
            change(self._connection, "retire_index", reference_no=reference_no)
            change(self._connection, "serve_index", index_no=index_no)
        for name_of_statement in ("settle_chunks", "settle_words"):
            run(self._connection, name_of_statement, index_no)
        for old in rows(self._connection, "superseded_indexes", reference_no=reference_no):
            with store_errors(), self._connection.transaction():
                run(self._connection, "drop_index_tables", old["index_no"])
                change(self._connection, "forget_index", index_no=old["index_no"])
        served = self.serving(name)
        assert served is not None  # published above, under the reference's lock
        return served

    def calibrate(self, index: ServedIndex, calibration: Calibration) -> None:
        """Keeps what the index's probes measured."""
        change(self._connection, "store_calibration", index_no=index.index_no, calibration=Jsonb(asdict(calibration)))

    def _found(self, name: str) -> Mapping[str, Any]:
        found = row(self._connection, "find_reference", name=name)
        if found is None:
            raise NotFound(f"reference {name!r} does not exist; `tokenopt index build PATH --name {name}` makes it")
        return found

    def _build(self, index_no: int, recipe: Recipe, chunks: Sequence[Chunk]) -> None:
        connection = self._connection
        width = sql.SQL("halfvec") if recipe.dimension is None else sql.SQL(f"halfvec({recipe.dimension:d})")
        run(connection, "create_chunk_table", index_no, vector=width)
        run(connection, "keep_vectors_in_place", index_no)
        change(connection, "create_new_chunk")
        with connection.cursor() as cursor, cursor.copy(statement("copy_new_chunks")) as copy:
            sections: dict[tuple[str, int], int] = {}
            for chunk_no, chunk in enumerate(chunks, start=1):
                section_no = sections.setdefault((chunk.source_name, chunk.section_no), len(sections) + 1)
                texts = (storable(each) for each in (chunk.source_name, chunk.title, chunk.heading, chunk.text))
                trigger = None if chunk.trigger is None else Json(asdict(chunk.trigger))
                copy.write_row((chunk_no, section_no, *texts, chunk.n_tokens, passage_id(chunk.content_hash), trigger))
        run(connection, "fill_chunk_table", index_no, {"embedder": recipe.embedder, "dimension": recipe.dimension})
        for each in ("create_word_table", "keep_postings_unpacked", "fill_word_table", "create_word_index"):
            run(connection, each, index_no)
        run(connection, "create_name_index", index_no)
        run(connection, "create_rule_index", index_no)
        if recipe.embedder is not None:
            [counted] = connection.execute(filled("count_missing_vectors", index_no)).fetchall()
            assert counted["n"] == 0  # the stage embeds before it publishes
            run(connection, "create_vector_index", index_no)


def passage_id(content_hash: str) -> uuid.UUID:
    """The first half of a passage's digest, which tells passages apart as well as the whole one."""
    return uuid.UUID(content_hash[:32])


def _index(name: str, found: Mapping[str, Any]) -> ServedIndex:
    return ServedIndex(
        index_no=found["index_no"],
        name=name,
        recipe_digest=found["recipe_digest"],
        chunk_tokens=found["chunk_tokens"],
        embedder=found["embedder"],
        dimension=found["dimension"],
        n_chunks=found["n_chunks"],
        n_sections=found["n_sections"],
        n_rules=found["n_rules"],
        built_at=found["built_at"],
        is_stale=found["is_stale"],
        calibration=None if found["calibration"] is None else _calibration(found["calibration"]),
    )


def _calibration(stored: Mapping[str, Any]) -> Calibration:
    threshold = stored["threshold"]
    return Calibration(
        threshold=None if threshold is None else Threshold(**threshold),
        recall=stored["recall"],
        n=stored["n"],
        trusted=stored["trusted"],
        # Those from before rules were lent to probes have none.
        lent_by=stored.get("lent_by", {}),
    )
