"""Reviewed answers in Postgres."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tokenopt_pipeline.adapters.postgres.connection import Connection, rows
from tokenopt_pipeline.domain.answer_doubts import find_doubts
from tokenopt_pipeline.domain.documents import BlockType, block_uid
from tokenopt_pipeline.domain.reviews import ReviewedAnswer
from tokenopt_pipeline.domain.routing import RouteFacts, schema_facts
from tokenopt_pipeline.domain.runs import Run


class PostgresReviews:
    """Reads; changes nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def answers(
        self, runs: Sequence[Run], *, violation: Callable[[Mapping[str, object]], str | None]
    ) -> list[ReviewedAnswer]:
        """Answers of these runs, all of one schema, to blocks that one of them has confirmed, in run and document order."""
        schema = runs[0].schema
        facts = schema_facts(schema)
        return [
            ReviewedAnswer(
                block_uid=block_uid(r["document_id"], r["block_index"]),
                run_id=r["run_id"],
                facts=RouteFacts(
                    block_type=BlockType(r["block_type"]), n_tokens=r["n_tokens"], language=r["language"], schema=facts
                ),
                tier=r["tier"],
                model=r["model"],
                usd=None if r["usd"] is None else float(r["usd"]),
                staged=r["staged"],
                confirmed=r["confirmed"],
                doubts=frozenset(
                    doubt.id
                    for doubt in find_doubts(
                        schema.answer_schema,
                        r["staged"],
                        r["text"],
                        violation=violation(r["staged"]),
                        checks=schema.checks,
                    )
                ),
            )
            for r in rows(self._connection, "reviewed_answers", run_nos=[run.run_no for run in runs])
        ]
