"""Blocks of a collection as planning sees them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from tokenopt_pipeline.adapters.postgres.connection import Connection, rows, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.packs import PlannableBlock
from tokenopt_pipeline.domain.prefilter import WORDS_CAP, BlockFacts
from tokenopt_pipeline.domain.reuse import Asking


class PostgresPlanning:
    """`ports.PlanningStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def blocks(self, collection: str, *, answer_recipe: str) -> Iterator[PlannableBlock]:
        """Today's blocks in document order, streamed."""
        parameters = {"collection": collection, "recipe": uuid.UUID(answer_recipe[:32])}
        with store_errors(), self._connection.cursor() as cursor:
            for r in cursor.stream(statement("plannable_blocks"), parameters, size=1000):
                block_type = BlockType(r["block_type"])
                yield PlannableBlock(
                    facts=BlockFacts(type=block_type, is_blank=r["is_blank"], words=min(r["n_words"], WORDS_CAP)),
                    tokens=r["n_tokens"],
                    content=f"{block_type} {r['content_hash']}",
                    is_known=r["is_known"],
                    language=r["language"],
                )

    def answered_otherwise(self, collection: str, *, answer_recipe: str) -> list[Asking]:
        """Runs that have answered some of today's blocks under another recipe, the newest first."""
        recipe = uuid.UUID(answer_recipe[:32])
        found = rows(self._connection, "answered_otherwise", collection=collection, recipe=recipe)
        return [Asking(**r) for r in found]
