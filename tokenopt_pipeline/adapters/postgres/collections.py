"""Collections, documents and blocks in Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.adapters.postgres.texts import storable, storable_or_none
from tokenopt_pipeline.domain.documents import IngestOutcome, ReadDocument
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.languages import language_of
from tokenopt_pipeline.domain.prefilter import count_words

_BLOCK_TYPES = ["int8", "int4", "text", "bool", "int4", "int4", "uuid", "jsonb", "text", "text"]


class PostgresCollections:
    """`ports.CollectionStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def knows(self, content_id: str) -> bool:
        """Whether the document's blocks are stored already."""
        return row(self._connection, "find_document", document_id=content_id) is not None

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
        with store_errors(), self._connection.transaction():
            change(self._connection, "ensure_collection", name=collection, now=now)
            collection_no = self._collection_no(collection)
            inserted = row(
                self._connection,
                "insert_document",
                document_id=content_id,
                source_type=document.source_type,
                reader_version=document.reader_version,
                title=storable_or_none(document.title),
                n_bytes=n_bytes,
                n_blocks=len(document.blocks),
                now=now,
            )
            if inserted is not None:
                self._copy_blocks(inserted["document_no"], document, token_counts)
            stored = row(self._connection, "find_document", document_id=content_id)
            assert stored is not None  # inserted above or by whoever was first
            place = {"collection_no": collection_no, "source_name": source_name, "document_no": stored["document_no"]}
            change(self._connection, "supersede_source", **place, now=now)
            linked = change(self._connection, "link_source", **place, now=now)
        return IngestOutcome(
            document_id=content_id,
            n_blocks=stored["n_blocks"],
            is_new_document=inserted is not None,
            changed_collection=linked == 1,
        )

    def document_ids(self, collection: str) -> list[tuple[str, int]]:
        """(document id, number of blocks) of today's documents, in the order of their names. Raises NotFound."""
        found = rows(self._connection, "collection_documents", collection_no=self._collection_no(collection))
        return [(r["document_id"], r["n_blocks"]) for r in found]

    def _collection_no(self, name: str) -> int:
        found = row(self._connection, "find_collection", name=name)
        if found is None:
            raise NotFound(f"collection {name!r} does not exist; `tokenopt ingest PATH --collection {name}` makes it")
        return int(found["collection_no"])

    def _copy_blocks(self, document_no: int, document: ReadDocument, token_counts: Sequence[int]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement("copy_blocks")) as copy:
            copy.set_types(_BLOCK_TYPES)
            for index, (block, n_tokens) in enumerate(zip(document.blocks, token_counts, strict=True)):
                text = storable(block.text)
                copy.write_row(
                    (
                        document_no,
                        index,
                        block.type.value,
                        not text.strip(),
                        count_words(text),
                        n_tokens,
                        uuid.UUID(digest_text(text)[:32]),
                        Jsonb(dict(block.locator)),
                        text,
                        language_of(text),
                    )
                )
