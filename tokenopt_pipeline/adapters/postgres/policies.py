"""The audit of policy files in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.connection import Connection, change, row, rows, store_errors


class PostgresPolicies:
    """Remembers what a policy file said, and keeps every change."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def seen(self, path: str, document: Mapping[str, object], *, who: str, now: datetime) -> bool:
        """Notes what the file says; True when that is a change, which is kept with who, when, old and new."""
        with store_errors(), self._connection.transaction():
            noted = {"path": path, "policy": Jsonb(dict(document)), "now": now}
            is_new = change(self._connection, "insert_policy_file", **noted) == 1
            before = None if is_new else row(self._connection, "seen_policy_file", path=path)
            if before is not None:
                if before["policy"] == document:
                    return False
                change(self._connection, "update_policy_file", **noted)
            change(
                self._connection,
                "insert_policy_change",
                path=path,
                who=who,
                now=now,
                old=None if before is None else Jsonb(before["policy"]),
                new=Jsonb(dict(document)),
            )
        return True

    def changes(self, most: int = 50) -> list[dict[str, Any]]:
        """The newest changes first."""
        return rows(self._connection, "policy_changes", most=most)
