"""Brings a schema up to date with a folder of numbered SQL files: each applied once, whole or not at all, and never edited after."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql

from tokenopt_pipeline.adapters.postgres import server
from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable

#: Any constant will do, as long as every version of the product takes the same one.
_MIGRATION_LOCK = 7_310_557_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One `NNNN_name.sql`."""

    number: int
    name: str
    statements: str

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.statements.encode()).digest()


def migrate(url: str, folder: Path, *, schema: str = "tokenopt", lock_timeout_s: float = 60) -> list[str]:
    """The names of the files applied now, in order; empty when the schema was up to date.

    Statements find `schema` first and `public` second; `lock_timeout_s` bounds the wait for another process that migrates, and for
    each lock on a table in use.
    """
    migrations = _read(folder)
    with server.connected(url) as connection:
        connection.execute("select set_config('lock_timeout', %s, false)", (f"{round(lock_timeout_s * 1000)}ms",))
        try:
            # A session's lock, dropped by the server when this process dies.
            connection.execute("select pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            raise StoreUnavailable(
                f"another process has been migrating this database for {lock_timeout_s:g} s"
            ) from error
        server.ensure_vector(connection)
        server.ensure_schema(connection, schema)
        applied = _applied(connection, schema)
        _refuse_other_history(migrations, applied)
        missing = [migration for migration in migrations if migration.number not in applied]
        for migration in missing:
            _apply(connection, schema, migration)
        return [migration.name for migration in missing]


def _read(folder: Path) -> list[Migration]:
    """In order; no number stands twice, so that two branches cannot both take one unnoticed. One that is not there yet may
    come later."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        found = re.fullmatch(r"(\d{4})_\w+\.sql", path.name)
        if found is None:
            raise InvalidInput(f"migrations in {folder} are called NNNN_name.sql, found {path.name}")
        number = int(found[1])
        if migrations and migrations[-1].number == number:
            raise InvalidInput(
                f"migrations in {folder}: {migrations[-1].name} and {path.name} have the same number; give one the next"
            )
        migrations.append(Migration(number=number, name=path.name, statements=path.read_text(encoding="utf-8")))
    if not migrations:
        raise InvalidInput(f"no migrations in {folder}")
    return migrations


def _applied(connection: Connection[tuple[Any, ...]], schema: str) -> dict[int, bytes]:
    """Number -> sha256 of what was applied under it."""
    table = sql.Identifier(schema, "schema_version")
    connection.execute(
        sql.SQL(
            "create table if not exists {} (version int primary key, name text not null, sha256 bytea not null, "
            "applied_at timestamptz not null default now())"
        ).format(table)
    )
    return dict(connection.execute(sql.SQL("select version, sha256 from {}").format(table)).fetchall())


def _refuse_other_history(migrations: list[Migration], applied: dict[int, bytes]) -> None:
    newest, known = max(applied, default=0), {migration.number for migration in migrations}
    if not applied.keys() <= known:
        raise InvalidInput(f"the database is at version {newest}, this program knows {max(known)}: upgrade the program")
    for migration in migrations:
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            raise InvalidInput(
                f"{migration.name} was edited after it was applied: undo that, and add a new file instead"
            )


def _apply(connection: Connection[tuple[Any, ...]], schema: str, migration: Migration) -> None:
    search_path = sql.SQL("set local search_path = {}, public").format(sql.Identifier(schema))
    record = sql.SQL("insert into {} (version, name, sha256) values (%s, %s, %s)").format(
        sql.Identifier(schema, "schema_version")
    )
    try:
        with connection.transaction():
            connection.execute(search_path)
            # Bytes without parameters go out as one simple query, which may hold many statements.
            connection.execute(migration.statements.encode())
            connection.execute(record, (migration.number, migration.name, migration.sha256))
    except psycopg.errors.LockNotAvailable as error:
        raise StoreUnavailable(
            f"{migration.name} waited too long for a lock and was rolled back: a table is in use"
        ) from error
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise InvalidInput(f"{migration.name} failed and was rolled back: {server.first_line(error)}") from error
