"""One connection of this process to the database, and the one door for its driver's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.errors import StoreUnavailable

SCHEMA = "tokenopt"
_READ_TIMEOUT_MS = 10_000
Connection = psycopg.Connection[DictRow]


@contextmanager
def connect(url: str, *, application: str = "tokenopt", read_only: bool = False) -> Iterator[Connection]:
    """A connection in autocommit mode, closed at the end. Transactions are opened where they are needed.

    With `read_only`, the server refuses whatever would change something, and gives up what takes long.
    Raises StoreUnavailable when the server cannot be reached or goes away.
    """
    reading = f" -c default_transaction_read_only=on -c statement_timeout={_READ_TIMEOUT_MS}" if read_only else ""
    with store_errors():
        connection = psycopg.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=10,
            application_name=application,
            # The server looks every second whether we still live, also in the middle of a statement, so that what a
            # killed process was doing and the locks it held end with it.
            options=f"-c search_path={SCHEMA},public -c client_connection_check_interval=1000{reading}",
        )
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns the driver's connection trouble into StoreUnavailable; programming errors pass."""
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        # What a lock that cannot be had means is for the caller to say.
        raise
    except (psycopg.OperationalError, psycopg.errors.DiskFull) as problem:
        first_line = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise StoreUnavailable(f"database: {first_line}") from problem


def rows(connection: Connection, name: str, /, **parameters: Any) -> list[DictRow]:
    """All rows of the statement in `sql/<name>.sql`."""
    with store_errors():
        return connection.execute(statement(name), parameters).fetchall()


def row(connection: Connection, name: str, /, **parameters: Any) -> DictRow | None:
    """The only row, or None."""
    with store_errors():
        return connection.execute(statement(name), parameters).fetchone()


def change(connection: Connection, name: str, /, **parameters: Any) -> int:
    """Runs a statement that returns nothing; how many rows it changed."""
    with store_errors():
        return connection.execute(statement(name), parameters).rowcount
