"""Results of batches in Postgres: from a file's lines to the calls they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.packs import open_pack
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.adapters.postgres.texts import storable
from tokenopt_pipeline.domain.batch_results import ResultCounts
from tokenopt_pipeline.domain.batches import Batch
from tokenopt_pipeline.ports import BatchedCall


class PostgresBatchResults:
    """`ports.BatchImports` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def import_results(
        self, batch: Batch, lines: Iterable[tuple[str | None, str | None]], *, simulated: bool, now: datetime
    ) -> ResultCounts:
        """Stores the first line of every request that has none yet, in one transaction; nothing when reading `lines` fails.

        Lines are (id, text); no id: it cannot be read; no text: it is about no request of this batch.
        """
        with store_errors(), self._connection.transaction():
            change(self._connection, "create_incoming")
            with self._connection.cursor() as cursor, cursor.copy(statement("copy_incoming")) as copy:
                copy.set_types(["int4", "text", "text"])
                for i, (request_id, text) in enumerate(lines):
                    copy.write_row((i, request_id, text))
            change(self._connection, "import_results", batch_no=batch.batch_no, is_simulated=simulated, now=now)
            counted = row(self._connection, "count_incoming", batch_no=batch.batch_no)
        assert counted is not None  # the statement always returns a row
        return ResultCounts(**counted)

    def under_way(self, batch: Batch, *, after: int, most: int) -> list[BatchedCall]:
        """Calls of the batch that are not ended and have a line, by number, from after that number on."""
        return [
            BatchedCall(
                call_no=r["call_no"],
                pack=open_pack(r),
                is_open=r["state"] == "open",
                fingerprint=r["call_fingerprint"],
                has_talked=r["has_talked"],
                line=r["line"],
                simulated=r["is_simulated"],
            )
            for r in rows(self._connection, "batch_packs", batch_no=batch.batch_no, after=after, most=most)
        ]

    def close(self, batch: Batch, *, error_class: str, message: str, may_be_billed: bool, now: datetime) -> int:
        """Ends calls without an answer, whose packs stay open, and closes the batch, in one transaction; how many calls."""
        with store_errors(), self._connection.transaction():
            released = change(
                self._connection,
                "release_batch_calls",
                batch_no=batch.batch_no,
                error_class=error_class,
                message=storable(message),
                may_be_billed=may_be_billed,
                now=now,
            )
            change(
                self._connection,
                "close_batch",
                batch_no=batch.batch_no,
                problem=storable(message) if released else None,
                now=now,
            )
        return released

    def taken(self, provider: str, *, since: datetime) -> set[str]:
        """Ids at the provider that belong to batches of ours."""
        return {r["batch_id"] for r in rows(self._connection, "taken_batches", provider=provider, since=since)}
