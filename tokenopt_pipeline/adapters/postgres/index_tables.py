"""Statements about one index's own tables, which are named after its number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from tokenopt_pipeline.adapters.postgres.connection import Connection, store_errors
from tokenopt_pipeline.adapters.postgres.statements import statement


def filled(name: str, index_no: int, **parts: sql.Composable) -> sql.Composed:
    """The statement in `sql/<name>.sql` with the names of the index's tables in it."""
    tables = {each: sql.Identifier(f"reference_{index_no:d}_{each}") for each in ("chunks", "words")}
    return sql.SQL(statement(name)).format(**tables, **parts)


def run(
    connection: Connection,
    name: str,
    index_no: int,
    parameters: Mapping[str, Any] | None = None,
    **parts: sql.Composable,
) -> None:
    """Runs such a statement; nothing is returned."""
    with store_errors():
        connection.execute(filled(name, index_no, **parts), parameters)
