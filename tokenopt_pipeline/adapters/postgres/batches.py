"""Batches in Postgres: intents, where they stand, who collects them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import DictRow

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.packs import open_pack
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.adapters.postgres.texts import storable_or_none
from tokenopt_pipeline.domain.batches import Batch, BatchOutcome, BatchState, batch_key, custom_id
from tokenopt_pipeline.domain.errors import BudgetExceeded, RunCancelled
from tokenopt_pipeline.domain.priming import PrimingBatch
from tokenopt_pipeline.domain.runs import Run, RunState, Shard
from tokenopt_pipeline.ports import IntendedCall, UnsentPack


class PostgresBatches:
    """`ports.BatchIntents`, `ports.BatchPrimings` and `ports.BatchBook` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unsent(self, shard: Shard) -> list[UnsentPack]:
        """Open packs of the shard that go in batches and are in none now, oldest first."""
        found = rows(self._connection, "unsent_packs", run_no=shard.run_no, shard_no=shard.shard_no)
        return [
            UnsentPack(pack=open_pack(r), batches=r["batches"], rounds=r["rounds"], is_reserved=r["is_reserved"])
            for r in found
        ]

    def intend(
        self, run: Run, calls: Sequence[IntendedCall], *, round_no: int, n_bytes: int, primes: str | None, now: datetime
    ) -> tuple[Batch, list[int]]:
        """Commits the intent to have a batch of these calls made, or of the first of them that the run's budget has room for.

        Gives the batch and the numbers of its calls. Raises, with nothing written, RunCancelled or BudgetExceeded.
        """
        first = calls[0].pack
        model = str(first.route.model)
        with store_errors(), self._connection.transaction():
            taken = self._within_budget(run, calls)
            numbers = [self._begin(run, call, now) for call in taken]
            key = batch_key(run.run_id, first.shard.shard_no, model, numbers)
            made = row(
                self._connection,
                "begin_batch",
                run_no=run.run_no,
                shard_no=first.shard.shard_no,
                model=model,
                key=key,
                round=round_no,
                n_requests=len(taken),
                n_bytes=n_bytes,
                primes=primes,
                now=now,
            )
            assert made is not None  # the statement always returns a row
            with self._connection.cursor() as cursor, cursor.copy(statement("copy_batch_requests")) as copy:
                for number, call in zip(numbers, taken, strict=True):
                    copy.write_row((made["batch_no"], custom_id(key, number), number, call.pack.pack_no))
        return _batch(made), numbers

    def priming(self, run: Run) -> list[PrimingBatch]:
        """Batches of the run that go first for others, and that their provider may have had."""
        return [
            PrimingBatch(
                shard_no=r["shard_no"],
                key=r["primes"],
                is_open=r["is_open"],
                ended_at=r["ended_at"],
                has_kept=r["has_kept"],
            )
            for r in rows(self._connection, "priming_batches", run_no=run.run_no)
        ]

    def unkeep(self, packs: Sequence[int], *, reason: str) -> int:
        """Open packs ask no more for their prefix to be kept; how many."""
        return change(self._connection, "unkeep_prefix", pack_nos=list(packs), reason=reason)

    def asking(self, batch: Batch, *, now: datetime) -> bool:
        """Commits that the provider is about to be asked; False when somebody has been faster."""
        return change(self._connection, "ask_batch", batch_no=batch.batch_no, now=now) == 1

    def set_mode(self, packs: Sequence[int], *, mode: str, reason: str) -> int:
        """Open packs are asked in another mode from now on; how many."""
        return change(self._connection, "set_pack_mode", run_no=None, pack_nos=list(packs), mode=mode, reason=reason)

    def set_run_mode(self, run: Run, *, mode: str, reason: str) -> int:
        """The same for all open packs of a run."""
        return change(self._connection, "set_pack_mode", run_no=run.run_no, pack_nos=None, mode=mode, reason=reason)

    def open_batches(self, shard: Shard | None = None) -> list[Batch]:
        """Batches that are not closed, oldest first; of one shard or of all."""
        run_no, shard_no = (None, None) if shard is None else (shard.run_no, shard.shard_no)
        return [_batch(r) for r in rows(self._connection, "open_batches", run_no=run_no, shard_no=shard_no)]

    def submitted(self, batch: Batch, batch_id: str, *, is_adopted: bool, now: datetime, look_at: datetime) -> bool:
        """Stores the provider's id; False when the batch is no intent any more."""
        changed = change(
            self._connection,
            "submit_batch",
            batch_no=batch.batch_no,
            batch_id=batch_id,
            is_adopted=is_adopted,
            now=now,
            look_at=look_at,
        )
        return changed == 1

    def ended(
        self, batch: Batch, outcome: BatchOutcome, *, n_done: int | None, problem: str | None, now: datetime
    ) -> bool:
        """Stores that nothing of it is under way any more; False when that was known."""
        changed = change(
            self._connection,
            "end_batch",
            batch_no=batch.batch_no,
            outcome=outcome,
            n_done=n_done,
            problem=storable_or_none(problem),
            now=now,
        )
        return changed == 1

    def noted(
        self,
        batch: Batch,
        *,
        look_at: datetime,
        now: datetime,
        n_done: int | None = None,
        problem: str | None = None,
        is_unseen: bool = False,
        not_ours: Sequence[str] = (),
        downloads: int = 0,
    ) -> None:
        """Stores what a look told."""
        change(
            self._connection,
            "note_batch",
            batch_no=batch.batch_no,
            n_done=n_done,
            problem=storable_or_none(problem),
            look_at=look_at,
            is_unseen=is_unseen,
            now=now,
            not_ours=list(not_ours),
            downloads=downloads,
        )

    def unwant(self, *, run_no: int | None = None, batch_no: int | None = None, now: datetime) -> int:
        """Batches of a run, or one batch, are to be cancelled at their providers; how many were not to be before."""
        return change(self._connection, "unwant_batches", run_no=run_no, batch_no=batch_no, now=now)

    def due(self, *, now: datetime) -> list[Batch]:
        """Batches that are not ended and are to be looked at by now."""
        return [_batch(r) for r in rows(self._connection, "due_batches", now=now)]

    def lease(self, lease: str, *, most: int, until: datetime, idle_since: datetime, now: datetime) -> list[Shard]:
        """Shards on which something can be done now, for the holder of the lease alone until its time is over.

        `idle_since`: packs that have waited for a batch since before are taken for forgotten by whoever started them.
        """
        found = rows(
            self._connection, "lease_shards", lease=lease, most=most, until=until, idle_since=idle_since, now=now
        )
        return [Shard(run_no=r["run_no"], shard_no=r["shard_no"]) for r in found]

    def end_lease(self, lease: str, shard: Shard) -> None:
        """Lets go of a shard."""
        change(self._connection, "end_lease", lease=lease, run_no=shard.run_no, shard_no=shard.shard_no)

    def told(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Batches as people see them: those that are not closed, or all of a run, the newest last."""
        return rows(self._connection, "listed_batches", run_id=run_id)

    def outstanding(self) -> list[dict[str, Any]]:
        """Provider and state -> batches, requests, requests done, the oldest intent, dollars at most."""
        return rows(self._connection, "outstanding_batches")

    def _begin(self, run: Run, call: IntendedCall, now: datetime) -> int:
        begun = row(
            self._connection,
            "begin_call",
            pack_no=call.pack.pack_no,
            run_no=run.run_no,
            fingerprint=call.fingerprint,
            usd_ceiling=call.usd_ceiling,
            now=now,
        )
        assert begun is not None  # the statement always returns a row
        return int(begun["call_no"])

    def _within_budget(self, run: Run, calls: Sequence[IntendedCall]) -> Sequence[IntendedCall]:
        budget = row(self._connection, "lock_run_budget", run_no=run.run_no)
        assert budget is not None  # the pack's foreign key says so
        if budget["state"] != RunState.OPEN:
            raise RunCancelled(f"run {budget['run_id']} has ended; nothing more is asked for it")
        limit: Decimal | None = budget["budget_usd"]
        if limit is None:
            return calls
        used = row(self._connection, "used_budget", run_no=run.run_no, pack_no=None)
        assert used is not None  # an aggregate always has a row
        needed = used["used_usd"]
        for i, call in enumerate(calls):
            if call.is_reserved:
                continue
            needed += call.usd_ceiling or Decimal(0)
            if call.usd_ceiling is None or needed > limit:
                if i:
                    return calls[:i]
                raise BudgetExceeded(
                    f"budget of ${limit.normalize():f}: ${used['used_usd']:.4f} is spent or reserved and the next call may "
                    f"cost ${call.usd_ceiling or Decimal(0):.4f}; the run stopped before it",
                    limit_usd=limit,
                    needed_usd=needed,
                )
        return calls


def _batch(r: DictRow) -> Batch:
    return Batch(
        batch_no=r["batch_no"],
        run_no=r["run_no"],
        shard_no=r["shard_no"],
        model=r["model"],
        key=r["key"],
        round=r["round"],
        state=BatchState(r["state"]),
        n_requests=r["n_requests"],
        intended_at=r["intended_at"],
        asked_at=r["asked_at"],
        batch_id=r["batch_id"],
        submitted_at=r["submitted_at"],
        ended_at=r["ended_at"],
        outcome=None if r["outcome"] is None else BatchOutcome(r["outcome"]),
        unseen_since=r["unseen_since"],
        downloads=r["downloads"],
        is_unwanted=r["is_unwanted"],
        not_ours=tuple(r["not_ours"]),
    )
