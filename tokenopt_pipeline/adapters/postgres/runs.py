"""Runs in Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow
from psycopg.types.json import Json, Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.contexts import PostgresContexts
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound
from tokenopt_pipeline.domain.knowledge import parse_knowledge
from tokenopt_pipeline.domain.learning import parse_learned
from tokenopt_pipeline.domain.policy import resolve, snapshot
from tokenopt_pipeline.domain.runs import NewRun, Run, RunKind, RunState, ShardSpan
from tokenopt_pipeline.domain.schemas import parse_schema


class PostgresRuns:
    """`ports.RunStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, new: NewRun, *, now: datetime) -> Run:
        """Stores a run, its documents and shards in one transaction; the open run of equal inputs if there is one."""
        with store_errors(), self._connection.transaction():
            found = row(self._connection, "find_collection", name=new.collection)
            if found is None:
                raise NotFound(f"collection {new.collection!r} does not exist")
            documents = rows(self._connection, "collection_documents", collection_no=found["collection_no"])
            if tuple(d["document_id"] for d in documents) != new.document_ids:
                raise InvalidInput(
                    f"collection {new.collection!r} was changed while the run was planned; plan it again"
                )
            change(
                self._connection,
                "insert_schema",
                schema_hash=new.schema.schema_hash,
                ref=new.schema.ref,
                source=Json({**new.schema_source, "ref": new.schema.ref}),
                prompt_tokens=new.prompt_tokens,
                now=now,
            )
            policy = new.resolved.policy
            inserted = row(
                self._connection,
                "insert_run",
                run_id=new.run_id,
                collection_no=found["collection_no"],
                schema_hash=new.schema.schema_hash,
                policy=Jsonb(snapshot(policy)),
                policy_hash=new.resolved.policy_hash,
                policy_sources=Jsonb(dict(new.resolved.sources)),
                inputs_digest=new.inputs_digest,
                answer_recipe=uuid.UUID(new.answer_recipe[:32]),
                schema_ref=new.schema.ref,
                mode=new.mode,
                kind=new.kind,
                n_blocks=new.spans[-1].end if new.spans else 0,
                n_shards=len(new.spans),
                budget_usd=policy.run.budget_usd,
                learned=Jsonb(new.learned.document()),
                knowledge=Jsonb(new.knowledge.document()),
                classification_tokens=new.classification_tokens,
                now=now,
            )
            if inserted is not None:
                PostgresContexts(self._connection).keep(new.texts)
                self._add_parts(inserted["run_no"], documents, new.spans)
                if len(new.spans) > 1:
                    rows(self._connection, "fresh_plans")
                    change(self._connection, "note_repeated_blocks", run_no=inserted["run_no"])
        run = self.open_run(new.inputs_digest)
        if run is None:
            raise InvalidInput(
                f"run {new.run_id}: another session has just finished a run of the same inputs; try again"
            )
        return run

    def open_run(self, inputs_digest: str) -> Run | None:
        """The unfinished run of these inputs."""
        found = row(self._connection, "find_run", run_id="", inputs_digest=inputs_digest)
        return None if found is None else _run(found)

    def find(self, run_id: str) -> Run:
        """Raises NotFound."""
        found = row(self._connection, "find_run", run_id=run_id, inputs_digest="")
        if found is None:
            raise NotFound(f"run {run_id!r} does not exist; `tokenopt status` lists the newest runs")
        return _run(found)

    def numbered(self, run_no: int) -> Run:
        """The run with this number. Raises NotFound."""
        found = row(self._connection, "run_id_of", run_no=run_no)
        if found is None:
            raise NotFound(f"no run has number {run_no}")
        return self.find(found["run_id"])

    def set_mode(self, run_no: int, mode: str) -> None:
        """An open run is gone on with in another mode."""
        change(self._connection, "set_run_mode", run_no=run_no, mode=mode)

    def close_if_done(self, run_no: int, *, now: datetime) -> bool:
        """Marks an open run complete when every block's story has ended; whether it is complete now."""
        change(self._connection, "close_run_if_done", run_no=run_no, now=now)
        state = row(self._connection, "run_state", run_no=run_no)
        return state is not None and state["state"] == RunState.COMPLETE

    def cancel(self, run_id: str, *, now: datetime) -> bool:
        """Cancels an open run; False when it had ended before. Raises NotFound."""
        self.find(run_id)
        return change(self._connection, "cancel_run", run_id=run_id, now=now) == 1

    def _add_parts(self, run_no: int, documents: Sequence[DictRow], spans: Sequence[ShardSpan]) -> None:
        first = 0
        for document in documents:
            no = document["document_no"]
            change(self._connection, "insert_run_document", run_no=run_no, document_no=no, first_ordinal=first)
            first += document["n_blocks"]
        for span in spans:
            change(
                self._connection,
                "insert_shard",
                run_no=run_no,
                shard_no=span.shard_no,
                first=span.first,
                end=span.end,
            )


def _run(found: DictRow) -> Run:
    return Run(
        run_no=found["run_no"],
        run_id=found["run_id"],
        collection=found["collection"],
        # Schemas that differ in their names only are stored once.
        schema=parse_schema({**found["schema_source"], "ref": found["ref"]}, name=found["ref"]),
        prompt_tokens=found["prompt_tokens"],
        policy=resolve([("snapshot", found["policy"])]).policy,
        policy_hash=found["policy_hash"],
        mode=found["mode"],
        kind=RunKind(found["kind"]),
        state=RunState(found["state"]),
        n_blocks=found["n_blocks"],
        n_shards=found["n_shards"],
        learned=parse_learned(found["learned"]),
        knowledge=parse_knowledge(found["knowledge"]),
        classification_tokens=found["classification_tokens"],
    )
