"""People's part in Postgres: what waits for review, what was said of it, and what can be learned from that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, rows, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.answer_doubts import find_doubts
from tokenopt_pipeline.domain.documents import BlockType, block_uid
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound
from tokenopt_pipeline.domain.overlays import OverlayStatus
from tokenopt_pipeline.domain.reviews import ReviewedAnswer, Reviewer
from tokenopt_pipeline.domain.routing import RouteFacts, schema_facts
from tokenopt_pipeline.domain.runs import Run


class PostgresReviews:
    """Every change is one transaction: all blocks that were named, or none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def blocks(self, run: Run, statuses: Collection[OverlayStatus]) -> Iterator[dict[str, Any]]:
        """The run's blocks in these states in document order: text, answer, and the tier and model that gave it, streamed."""
        asked = {"run_no": run.run_no, "statuses": sorted(statuses)}
        with store_errors(), self._connection.cursor() as cursor:
            yield from cursor.stream(statement("reviewable_blocks"), asked, size=1000)

    def confirm(self, run: Run, reviewer: Reviewer, block_uids: Sequence[str] | None = None) -> int:
        """How many answers now stand as the model gave them; one that was confirmed before stays as it is.

        None is every answer of the run. Raises NotFound for a block that is not in the run, InvalidInput for one without an answer.
        """
        with self._connection.transaction():
            block_nos = None
            if block_uids is not None:
                found = self._targets(run, block_uids, allowed=(OverlayStatus.AI_COMPLETE, OverlayStatus.CONFIRMED))
                block_nos = [r["block_no"] for r in found]
            return self._change("confirm_overlays", run, reviewer, block_nos=block_nos)

    def reject(self, run: Run, reviewer: Reviewer, block_uids: Sequence[str]) -> int:
        """How many answers stand for nothing any more: their blocks have failed, and no run reuses them.

        Raises NotFound for a block that is not in the run, InvalidInput for one without an answer.
        """
        detail = f"rejected by {reviewer.name}{f': {reviewer.note}' if reviewer.note else ''}"
        with self._connection.transaction():
            found = self._targets(run, block_uids, allowed=(OverlayStatus.AI_COMPLETE, OverlayStatus.CONFIRMED))
            block_nos = [r["block_no"] for r in found]
            return self._change("reject_overlays", run, reviewer, block_nos=block_nos, detail=detail)

    def correct(
        self, run: Run, reviewer: Reviewer, uid: str, edit: Callable[[Mapping[str, Any] | None], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """The values that stand from now on: what `edit` makes of those that stood, None where there were none.

        Raises NotFound, InvalidInput for a block that no answer is expected of, and what `edit` raises.
        """
        allowed = (OverlayStatus.AI_COMPLETE, OverlayStatus.CONFIRMED, OverlayStatus.FAILED)
        with self._connection.transaction():
            (found,) = self._targets(run, [uid], allowed=allowed)
            answer = edit(found["answer"])
            self._change("correct_overlay", run, reviewer, block_no=found["block_no"], answer=Jsonb(answer))
        return answer

    def _targets(
        self, run: Run, block_uids: Sequence[str], *, allowed: Collection[OverlayStatus]
    ) -> list[dict[str, Any]]:
        asked = {uid: (uid.rpartition(":")[0], uid.rpartition(":")[2]) for uid in block_uids}
        known = {uid: (i, int(n)) for uid, (i, n) in asked.items() if n.isdecimal() and len(n) < 10}
        documents, indexes = [i for i, _ in known.values()], [n for _, n in known.values()]
        found = rows(
            self._connection, "review_targets", run_no=run.run_no, document_ids=documents, block_indexes=indexes
        )
        if missing := [uid for uid in asked if uid not in {r["block_uid"] for r in found}]:
            raise NotFound(
                f"block {missing[0]!r} is not in run {run.run_id}; `tokenopt review list {run.run_id}` lists what can be reviewed"
            )
        for r in found:
            if r["status"] not in allowed:
                why = f"skipped by rule {r['rule_id']}" if r["status"] == OverlayStatus.SKIPPED else r["status"]
                raise InvalidInput(f"block {r['block_uid']} is {why}: there is no answer to review")
        return found

    def _change(self, name: str, run: Run, reviewer: Reviewer, **parameters: Any) -> int:
        said = {"reviewer": reviewer.name, "now": reviewer.at, "note": reviewer.note}
        return change(self._connection, name, run_no=run.run_no, **said, **parameters)

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
