"""One run as its tools may see it, over sessions that cannot write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tokenopt_pipeline.adapters.postgres.connection import Connection, connect, rows
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.domain.documents import BlockType, block_uid
from tokenopt_pipeline.domain.run_views import MOST_PRECEDING, MOST_TEXT_BYTES, BlockOutcome, RunBlock
from tokenopt_pipeline.domain.runs import Run

_UID = re.compile(r"([0-9a-f]{64}):([0-9]{1,9})")


class PostgresRunReading:
    """`ports.RunReading`. Every read has a connection of its own: they are rare, and may come from several threads."""

    def __init__(self, url: str, run_id: str) -> None:
        """Raises NotFound, StoreUnavailable."""
        self._url = url
        with self._session() as connection:
            self._run = PostgresRuns(connection).find(run_id)

    @property
    def run(self) -> Run:
        """The run as it was planned."""
        return self._run

    def blocks(self, *, start: int, count: int) -> list[RunBlock]:
        """The run's blocks from that ordinal on, in document order; long texts are cut."""
        with self._session() as connection:
            found = rows(
                connection,
                "run_view_blocks",
                run_no=self._run.run_no,
                start=start,
                count=count,
                most_chars=MOST_TEXT_BYTES,
            )
        return [
            RunBlock(
                uid=block_uid(r["document_id"], r["block_index"]),
                ordinal=r["ordinal"],
                type=BlockType(r["block_type"]),
                text=r["text"],
                n_bytes=r["n_bytes"],
            )
            for r in found
        ]

    def outcomes(self, uid: str) -> list[BlockOutcome]:
        """The block's outcome first, then those of the answered blocks before it in its document, the nearest first."""
        asked = _UID.fullmatch(uid)
        if asked is None:
            return []
        with self._session() as connection:
            found = rows(
                connection,
                "run_view_outcomes",
                run_no=self._run.run_no,
                document_id=asked[1],
                block_index=int(asked[2]),
                most=MOST_PRECEDING + 1,
            )
        return [
            BlockOutcome(
                uid=block_uid(r["document_id"], r["block_index"]),
                ordinal=r["ordinal"],
                status=r["status"],
                values=r["answer"],
            )
            for r in found
        ]

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with connect(self._url, application="tokenopt mcp", read_only=True) as connection:
            yield connection
