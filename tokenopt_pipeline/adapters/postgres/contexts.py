"""What packs carry of references, in Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows
from tokenopt_pipeline.adapters.postgres.texts import storable
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import StoreUnavailable


class PostgresContexts:
    """`ports.ContextStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, texts: Mapping[str, str]) -> None:
        """Stores text id -> text, all or nothing; what is known stays as it is."""
        # In one order everywhere, so that two processes that keep the same never wait for each other.
        ids = sorted(texts)
        change(
            self._connection,
            "keep_context_texts",
            text_ids=[uuid.UUID(text_id) for text_id in ids],
            texts=[storable(texts[text_id]) for text_id in ids],
        )

    def texts(self, text_ids: Sequence[str]) -> list[str]:
        """The texts in the order of their ids. Raises StoreUnavailable when one is missing."""
        wanted = [uuid.UUID(text_id) for text_id in text_ids]
        found = {r["text_id"]: r["text"] for r in rows(self._connection, "context_texts", text_ids=wanted)}
        if missing := [text_id for text_id in wanted if text_id not in found]:
            raise StoreUnavailable(f"database: {len(missing)} texts that a pack carries are not there any more")
        return [found[text_id] for text_id in wanted]

    def blocks(self, block_nos: Sequence[int]) -> Mapping[int, tuple[BlockType, str]]:
        """Block number -> its type and text."""
        found = rows(self._connection, "block_texts", block_nos=list(block_nos))
        return {r["block_no"]: (BlockType(r["block_type"]), r["text"]) for r in found}


def contexts_of_run(connection: Connection, run_no: int, *, shard_no: int | None = None) -> dict[str, dict[str, int]]:
    """What packs carry of their references -> why -> how many packs; empty for a schema that asks for none."""
    counted: dict[str, dict[str, int]] = {}
    for r in rows(connection, "run_contexts", run_no=run_no, shard_no=shard_no):
        counted.setdefault(r["kind"], {})[r["cause"]] = r["n"]
    return counted
