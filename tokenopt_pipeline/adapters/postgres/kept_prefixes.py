"""Prefixes that providers keep for runs, in Postgres."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors
from tokenopt_pipeline.adapters.postgres.texts import storable_or_none
from tokenopt_pipeline.domain.kept_prefixes import KeptPrefix
from tokenopt_pipeline.domain.prefixes import Prefix
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.runs import Run


class PostgresKeptPrefixes:
    """`ports.PrefixLedger` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def living(self, run_no: int, *, now: datetime) -> list[KeptPrefix]:
        """What providers keep for the run now."""
        found = rows(self._connection, "living_prefixes", run_no=run_no, now=now)
        return [KeptPrefix(**{**r, "model": parse_model_ref(r["model"])}) for r in found]

    def begin(
        self, run: Run, prefix: Prefix, *, usd_ceiling: Decimal, expires_at: datetime, now: datetime
    ) -> int | None:
        """Commits the intent to have it kept; None when another process has it or the run's budget has no room."""
        with store_errors(), self._connection.transaction():
            budget = row(self._connection, "lock_run_budget", run_no=run.run_no)
            used = row(self._connection, "used_budget", run_no=run.run_no, pack_no=None)
            assert budget is not None  # a run that is worked on exists
            assert used is not None  # an aggregate always has a row
            limit = budget["budget_usd"]
            if limit is not None and used["used_usd"] + usd_ceiling > limit:
                return None
            change(self._connection, "expire_prefixes", run_no=run.run_no, now=now)
            begun = row(
                self._connection,
                "begin_prefix",
                run_no=run.run_no,
                fingerprint=prefix.fingerprint,
                model=prefix.model,
                usd_ceiling=usd_ceiling,
                expires_at=expires_at,
                now=now,
            )
        return None if begun is None else int(begun["prefix_no"])

    def settle(self, kept: KeptPrefix, *, usd: Decimal | None) -> None:
        """Stores that it is kept, or kept for longer, and what that cost."""
        change(
            self._connection,
            "settle_prefix",
            prefix_no=kept.prefix_no,
            name=kept.name,
            tokens=kept.tokens,
            expires_at=kept.expires_at,
            usd=usd,
        )

    def end(self, prefix_no: int, *, message: str | None, now: datetime) -> None:
        """Stores that it is kept no longer, or, with the reason, that the provider did not take it."""
        change(self._connection, "end_prefix", prefix_no=prefix_no, message=storable_or_none(message), now=now)
