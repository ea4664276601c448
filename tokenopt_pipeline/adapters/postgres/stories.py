"""One block's whole story, and all blocks' outcomes for export."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenopt_pipeline.adapters.postgres.connection import Connection, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.documents import block_uid
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.reuse import Asking, why_not_reused
from tokenopt_pipeline.domain.runs import Run


class PostgresStories:
    """Reads; changes nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_block(self, run: Run, uid: str) -> dict[str, Any]:
        """Everything that is stored of a block in a run; `calls` has every try of every pack it was in.

        Raises NotFound.
        """
        document, _, index = uid.rpartition(":")
        found = None
        if index.isdecimal() and len(index) < 10:
            found = row(
                self._connection, "explain_block", run_no=run.run_no, document_id=document, block_index=int(index)
            )
        if found is None:
            raise NotFound(f"block {uid!r} is not in run {run.run_id}; `tokenopt export {run.run_id}` lists the blocks")
        calls = rows(self._connection, "explain_calls", run_no=run.run_no, block_no=found["block_no"])
        not_reused = None
        if found["verdict"] == "keep":
            others = rows(self._connection, "answered_elsewhere", run_no=run.run_no, block_no=found["block_no"])
            not_reused = why_not_reused(
                asking_of(run, found["answer_recipe"]),
                [Asking(**other) for other in others],
                is_enabled=run.policy.reuse.enabled,
            )
        reviews = rows(self._connection, "block_reviews", run_no=run.run_no, block_no=found["block_no"])
        return {"block_uid": uid, **found, "not_reused": not_reused, "calls": calls, "reviews": reviews}

    def export(self, run: Run, *, confirmed_only: bool) -> Iterator[dict[str, Any]]:
        """One record per block in document order: what the block is, and what was extracted from it."""
        with store_errors(), self._connection.cursor() as cursor:
            for r in cursor.stream(statement("export_blocks"), {"run_no": run.run_no}, size=1000):
                yield {
                    "immutable": {
                        "document": {
                            "id": r["document_id"],
                            "source_name": r["source_name"],
                            "source_type": r["source_type"],
                            "title": r["title"],
                            "bytes": r["n_bytes"],
                            "blocks": r["n_blocks"],
                        },
                        "block": {
                            "uid": block_uid(r["document_id"], r["block_index"]),
                            "index": r["block_index"],
                            "type": r["block_type"],
                            "locator": r["locator"],
                            "text": r["text"],
                        },
                    },
                    "extracted": {
                        "run": run.run_id,
                        "schema": run.schema.ref,
                        "schema_hash": run.schema.schema_hash,
                        "status": r["status"],
                        "rule": r["rule_id"],
                        "error_class": r["error_class"],
                        "error": r["error_detail"],
                        "model": r["model"],
                        "kind": r["kind"],
                        "reused_from_run": r["reused_from_run"],
                        "data": r["confirmed"] if confirmed_only else r["answer"],
                    },
                }


def asking_of(run: Run, recipe: str) -> Asking:
    """How the run asks."""
    return Asking(
        run_id=run.run_id,
        kind=run.kind.value,
        schema_ref=run.schema.ref,
        schema_hash=run.schema.schema_hash,
        form=run.policy.packing.output_form,
        models=models_text(run.policy.routing.models),
        recipe=recipe,
    )


def models_text(models: Mapping[str, Sequence[str]]) -> str:
    """A routing table as Postgres says a stored one."""
    return json.dumps(
        {tier: list(refs) for tier, refs in sorted(models.items(), key=lambda each: (len(each[0]), each[0]))}
    )
