"""Fixtures every room may use: one real Postgres per session, one empty database per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.adapters.postgres.server import ensure_vector
from tokenopt_pipeline_tests.postgres_servers import database_copy, embedded_home, place

if TYPE_CHECKING:
    from tokenopt_pipeline.measuring.stand import Stand

# Nothing that a developer has set may reach a test: no key, no database, no home.
for _name in [
    n
    for n in os.environ
    if n.startswith(("TOKENOPT_", "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "DAGSTER_", "PG"))
    and n != "TOKENOPT_SHARED"
]:
    del os.environ[_name]


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[tuple[str, Path]]:
    """(URL of a migrated database, home) of a real embedded server; `pristine` is its template for copies."""
    from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer

    with embedded_home() as home:
        server = EmbeddedServer(home)
        url = server.up()
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                ensure_vector(connection)
            migrate(url, Path(next(iter(migrations.__path__))))
            # A database can only be copied while nobody is connected to it, so nobody may.
            with psycopg.connect(url.replace("/tokenopt?", "/postgres?"), autocommit=True) as connection:
                connection.execute("create database pristine template tokenopt allow_connections false")
            yield url, home
        finally:
            server.down()


@pytest.fixture
def database_url(embedded_server: tuple[str, Path], request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the test's own."""
    url, _ = embedded_server
    with database_copy(url, f"t{abs(hash(request.node.nodeid)) % 10**12}") as copy:
        yield copy


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection to the test's own database."""
    with connect(database_url) as connected:
        yield connected


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    """The server, sandbox and processes of benchmark cells, for all tests that measure something."""
    from tokenopt_pipeline.measuring.stand import open_stand

    with open_stand(place=place()) as running:
        yield running


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    folder = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder
