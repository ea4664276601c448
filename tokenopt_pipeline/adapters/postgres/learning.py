"""What earlier calls have shown, from the ledger."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, rows
from tokenopt_pipeline.domain.answer_lengths import AnswerSample
from tokenopt_pipeline.domain.learning import CountedCall, PrefixedCall
from tokenopt_pipeline.domain.packing import LINE_OVERHEAD_TOKENS
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import RunKind


class PostgresLearning:
    """`ports.LearningStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def counted(self, ref: ModelRef, *, kind: RunKind, schema_hash: str | None, most: int) -> list[CountedCall]:
        """The newest answered calls to the model, of one kind of run and, unless None, of one schema."""
        found = rows(
            self._connection, "counted_calls", model=str(ref), kind=kind.value, schema_hash=schema_hash, most=most
        )
        return [CountedCall(**r) for r in found]

    def answers(self, ref: ModelRef, *, kind: RunKind, schema_hash: str, form: str, most: int) -> list[AnswerSample]:
        """The newest answered blocks of the schema on the model, asked in the form by one kind of run."""
        found = rows(
            self._connection,
            "answer_lengths",
            model=str(ref),
            kind=kind.value,
            schema_hash=schema_hash,
            form=form,
            most=most,
        )
        return [AnswerSample(**r) for r in found]

    def prefixed(self, prefix: Prefix, ref: ModelRef, *, kind: RunKind, most: int) -> list[PrefixedCall]:
        """The newest calls of one kind of run to the model with this prefix."""
        found = rows(
            self._connection,
            "prefixed_calls",
            model=str(ref),
            kind=kind.value,
            prefix=Jsonb(prefix.document()),
            line_tokens=LINE_OVERHEAD_TOKENS,
            most=most,
        )
        return [PrefixedCall(**r) for r in found]
