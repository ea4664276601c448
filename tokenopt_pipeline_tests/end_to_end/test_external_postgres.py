"""A Postgres that a team owns: over TCP, with a password that is never seen again, and nothing embedded beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import DEMO, SCHEMA, Terminal, terminal_at
from tokenopt_pipeline_tests.postgres_servers import PLAIN_PASSWORD, TcpServer, tcp_server

_SHAPES_OF_THE_PASSWORD = (PLAIN_PASSWORD, quote(PLAIN_PASSWORD, safe=""), quote(PLAIN_PASSWORD))


@pytest.fixture(scope="module")
def server() -> Iterator[TcpServer]:
    with tcp_server() as running:
        yield running


def terminal_for(server: TcpServer, database: str, sandbox: Sandbox, folder: Path, **variables: str) -> Terminal:
    return terminal_at(
        folder,
        folder,
        TOKENOPT_DATABASE_URL=server.plain_url(database),
        ANTHROPIC_API_KEY="sandbox",
        ANTHROPIC_BASE_URL=sandbox.anthropic_url,
        **variables,
    )


def _tells_the_password(text: str) -> bool:
    return any(shape in text for shape in _SHAPES_OF_THE_PASSWORD)


def _rows_with_text(url: str, schema: str) -> Iterator[str]:
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = %s", (schema,)).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f'select t::text from {schema}."{table}" t'.encode()):
                yield row


def test_the_whole_line_works_and_the_password_is_nowhere(server: TcpServer, sandbox: Sandbox, tmp_path: Path) -> None:
    server.create_database("team")
    with psycopg.connect(server.superuser_url, dbname="team", autocommit=True) as dba:
        dba.execute("create extension vector with schema public")
    # Cold, as a shell starts it: the other tests fork from a process that has the imports.
    terminal = replace(terminal_for(server, "team", sandbox, tmp_path), warm=False)
    said = [terminal.tok("ingest", DEMO, "--collection", "demo")]
    said.append(terminal.tok("run", "demo", "--schema", SCHEMA, "--json"))
    summary = said[-1].json()
    assert (summary["state"], summary["violations"], summary["outcomes"]["outstanding"]) == ("complete", 0, 0)
    for command in (("status", summary["run"]), ("export", summary["run"]), ("doctor",), ("migrate",)):
        said.append(terminal.tok(*command))
    assert len(said[-3].out.splitlines()) == summary["blocks"]
    assert not (tmp_path / "postgres").exists()
    assert not any(_tells_the_password(ended.out + ended.err) for ended in said)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if _tells_the_password(path.read_text("utf-8", "replace"))]
    rows = list(_rows_with_text(server.plain_url("team"), "dagster"))
    assert len(rows) > 20
    assert not any(_tells_the_password(row) for row in rows)


def test_without_the_vector_extension_one_line_says_what_to_ask_the_dba_for(
    server: TcpServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    server.create_database("bare")
    problem = (
        terminal_for(server, "bare", sandbox, tmp_path).tok("ingest", DEMO, "--collection", "demo", code=4).problem
    )
    assert "ask the DBA for CREATE EXTENSION vector WITH SCHEMA public" in problem
    assert "'bare'" in problem


def test_a_wrong_password_is_one_line_without_any_password(server: TcpServer, sandbox: Sandbox, tmp_path: Path) -> None:
    wrong = server.plain_url("postgres", "not-the-password")
    terminal = terminal_for(server, "postgres", sandbox, tmp_path).but(TOKENOPT_DATABASE_URL=wrong)
    ended = terminal.tok("status", code=4)
    assert "password authentication failed" in ended.problem
    assert "not-the-password" not in ended.out + ended.err
    assert ended.out == ""


def test_a_server_that_is_not_there_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    terminal = terminal_at(tmp_path, tmp_path, TOKENOPT_DATABASE_URL="postgresql://u:secret@127.0.0.1:9/team")
    ended = terminal.tok("status", "--json", code=4)
    assert ended.json()["exit_code"] == 4
    assert "database 'team' at 127.0.0.1:9" in ended.problem
    assert "secret" not in ended.out + ended.err
