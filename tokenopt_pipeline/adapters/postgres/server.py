"""Opens the database the product works in: the one whose URL was given, else the embedded one; and what a server must offer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable

#: Everything used is in 14; older ones get no security fixes any more (https://www.postgresql.org/support/versioning/, 2026-11).
OLDEST_SERVER = 14
#: The first with halfvec (https://github.com/pgvector/pgvector/blob/master/CHANGELOG.md, 2026-11).
OLDEST_VECTOR = (0, 7)
DAGSTER_SCHEMA = "dagster"

_CONNECT_TIMEOUT_S = 10
#: Any constant will do, as long as all processes that create schemas and extensions take the same one.
_CREATION_LOCK = 7_310_557_002


def database_url(*, external_url: str | None, home: Path) -> str:
    """A URL that answered and meets the requirements; without `external_url` of a server below the product's `home`."""
    url = external_url or _embedded_url(home)
    with connected(url) as connection:
        _check(connection, _place(url))
    return url


def dagster_url(url: str) -> str:
    """The same database for Dagster, which keeps its tables in a schema of its own.

    The driver is spelled out because SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3, and dagster-postgres 0.29
    then fails on its first event (https://github.com/dagster-io/dagster/issues/33958, 2026-11).
    """
    parameters = _parameters(url)
    options = f"{parameters.get('options', '')} -csearch_path={DAGSTER_SCHEMA}".strip()
    return _composed("postgresql+psycopg2", {**parameters, "options": options})


def ensure_dagster_schema(url: str) -> None:
    with connected(url) as connection:
        ensure_schema(connection, DAGSTER_SCHEMA)


def redacted(url: str) -> str:
    """For logs and people; a URL that cannot be read is not shown, since nobody knows where its password is."""
    try:
        parameters = _parameters(url)
    except InvalidInput:
        return "postgresql://(unreadable)"
    secrets = {name: "***" for name in parameters if name in ("password", "sslpassword")}
    return _composed("postgresql", {**parameters, **secrets})


@contextmanager
def connected(url: str) -> Iterator[Connection[tuple[Any, ...]]]:
    """An autocommitting connection; what goes wrong with it names host, port and database and never the password."""
    parameters, place = _parameters(url), _place(url)
    timeout_s = int(parameters.get("connect_timeout", _CONNECT_TIMEOUT_S))
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=timeout_s) as connection:
            yield connection
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise StoreUnavailable(f"{place}: {first_line(error)}") from error


@contextmanager
def one_at_a_time(url: str) -> Iterator[None]:
    """What is created in the database within it, no other process creates at the same moment."""
    with connected(url) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))
        yield


def ensure_schema(connection: Connection[tuple[Any, ...]], schema: str) -> None:
    # `if not exists` alone asks for the right to create even when there is nothing to create, and fails when two come at once.
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))
        if connection.execute("select 1 from pg_namespace where nspname = %s", (schema,)).fetchone():
            return
        try:
            connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        except psycopg.errors.InsufficientPrivilege as error:
            wanted = sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(connection.info.user)
            )
            raise StoreUnavailable(
                f"schema {schema!r} is missing and may not be created: ask the DBA for {wanted.as_string(connection)}"
            ) from error


def ensure_vector(connection: Connection[tuple[Any, ...]]) -> None:
    """pgvector, new enough, in schema public; created if this role may."""
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))
        installed = connection.execute(
            "select extversion, nspname from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'vector'"
        ).fetchone()
        offered = connection.execute(
            "select default_version from pg_available_extensions where name = 'vector'"
        ).fetchone()
        oldest = ".".join(map(str, OLDEST_VECTOR))
        if installed is None and (offered is None or _version(offered[0]) < OLDEST_VECTOR):
            found = "has none" if offered is None else f"has {offered[0]}"
            raise StoreUnavailable(
                f"pgvector {oldest} or newer is needed, the server {found}: ask the DBA to install it"
            )
        if installed is None:
            _create_vector(connection)
        elif _version(installed[0]) < OLDEST_VECTOR:
            raise StoreUnavailable(
                f"pgvector {oldest} or newer is needed, the database has {installed[0]}: "
                f"ask the DBA for ALTER EXTENSION vector UPDATE"
            )
        elif installed[1] != "public":
            raise StoreUnavailable(
                f"pgvector is in schema {installed[1]!r}: ask the DBA for ALTER EXTENSION vector SET SCHEMA public"
            )


def first_line(error: psycopg.Error) -> str:
    """Server and libpq put hints and further attempts on more lines."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _embedded_url(home: Path) -> str:
    # Imported here because it needs POSIX, and an external server must do without.
    try:
        from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
    except ImportError as error:
        raise StoreUnavailable("the embedded Postgres needs Linux or macOS: set TOKENOPT_DATABASE_URL") from error
    return EmbeddedServer(home / "postgres", top=home).up()


def _check(connection: Connection[tuple[Any, ...]], place: str) -> None:
    found = connection.info.server_version // 10_000
    if found < OLDEST_SERVER:
        raise StoreUnavailable(f"{place}: Postgres {OLDEST_SERVER} or newer is needed, the server is {found}")
    try:
        ensure_vector(connection)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{place}: {error}") from error


def _create_vector(connection: Connection[tuple[Any, ...]]) -> None:
    try:
        connection.execute("create extension vector with schema public")
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreUnavailable(
            f"role {connection.info.user!r} may not create the extension: "
            f"ask the DBA for CREATE EXTENSION vector WITH SCHEMA public"
        ) from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _parameters(url: str) -> dict[str, str]:
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:
        # libpq quotes the text it stumbled over, which may be the password.
        raise InvalidInput(
            "the database URL cannot be read: postgresql://user:password@host:port/database is expected"
        ) from None
    # An unescaped @ or / in a password moves the rest of it into the host, the port or the database, which errors do show.
    misplaced = "@" in parameters.get("host", "") + parameters.get("dbname", "")
    if misplaced or not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise InvalidInput(
            "the database URL cannot be read: special characters in a password are written as %40 for @, %2F for /"
        )
    return parameters


def _place(url: str) -> str:
    parameters = _parameters(url)
    host, port = parameters.get("host") or "the default host", parameters.get("port") or "5432"
    database = parameters.get("dbname") or parameters.get("user") or "(default)"
    return f"database {database!r} at {host}:{port}"


def _composed(scheme: str, parameters: Mapping[str, str]) -> str:
    """Everything percent-encoded, because libpq takes a plus sign for itself and SQLAlchemy takes it for a space."""
    rest = dict(parameters)
    user, password = rest.pop("user", None), rest.pop("password", None)
    database = rest.pop("dbname", "")
    credentials = quote(user or "", safe="") + (f":{quote(password, safe='*')}" if password is not None else "")
    address = ""
    # A socket folder, a list of hosts and an IPv6 address have no place before the path that both libraries understand.
    if re.fullmatch(r"[A-Za-z0-9.-]+", rest.get("host", "")) and re.fullmatch(r"\d*", rest.get("port", "")):
        address = rest.pop("host") + (f":{port}" if (port := rest.pop("port", "")) else "")
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in rest.items())
    at = "@" if credentials else ""
    return f"{scheme}://{credentials}{at}{address}/{quote(database, safe='')}{'?' if query else ''}{query}"
