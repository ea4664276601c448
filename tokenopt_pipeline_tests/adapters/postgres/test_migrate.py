"""Migrations are applied once, whole or not at all, in order, and never change afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable
from tokenopt_pipeline_tests.postgres_servers import embedded_home, wait_until


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServer]:
    with embedded_home() as home:
        server = EmbeddedServer(home)
        server.up()
        yield server


@pytest.fixture
def url(running: EmbeddedServer, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    name = request.node.name[:60]
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return running.url(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("create table first (n int); insert into first values (1);\n")
    (tmp_path / "0002_second.sql").write_text("create table second (vector halfvec(3));\n")
    return tmp_path


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_files_are_applied_in_order_into_the_schema_and_only_once(url: str, folder: Path) -> None:
    assert migrate(url, folder) == ["0001_first.sql", "0002_second.sql"]
    assert migrate(url, folder) == []

    assert rows(url, "select n from tokenopt.first") == [(1,)]
    assert rows(url, "select version, name from tokenopt.schema_version order by 1") == [
        (1, "0001_first.sql"),
        (2, "0002_second.sql"),
    ]


def test_a_new_file_is_applied_to_an_older_database(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0003_third.sql").write_text("alter table first add column added int;")

    assert migrate(url, folder) == ["0003_third.sql"]


def test_another_schema_has_its_own_history(url: str, folder: Path) -> None:
    migrate(url, folder)

    assert migrate(url, folder, schema='od"d') == ["0001_first.sql", "0002_second.sql"]
    assert rows(url, 'select n from "od""d".first') == [(1,)]


def test_six_starts_at_once_apply_each_file_once(url: str, folder: Path) -> None:
    with ThreadPoolExecutor(6) as starts:
        applied = list(starts.map(lambda _: migrate(url, folder), range(6)))

    assert sorted(applied) == [[]] * 5 + [["0001_first.sql", "0002_second.sql"]]
    assert rows(url, "select n from tokenopt.first") == [(1,)]


def test_a_file_that_fails_leaves_nothing_of_itself_and_all_of_those_before(url: str, folder: Path) -> None:
    broken = folder / "0003_broken.sql"
    broken.write_text("create table third (n int); insert into third values (1); create tabel fourth ();")

    with pytest.raises(InvalidInput, match=r"^0003_broken.sql failed and was rolled back: syntax error .*tabel"):
        migrate(url, folder)

    assert rows(url, "select to_regclass('tokenopt.third')") == [(None,)]
    assert rows(url, "select max(version) from tokenopt.schema_version") == [(2,)]
    broken.write_text("create table third (n int);")
    assert migrate(url, folder) == ["0003_broken.sql"]


def test_a_file_that_was_edited_after_it_was_applied_is_refused(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0001_first.sql").write_text("create table first (n bigint);")

    with pytest.raises(InvalidInput, match=r"0001_first\.sql was edited after it was applied"):
        migrate(url, folder)


def test_other_line_endings_are_not_an_edit(url: str, folder: Path) -> None:
    migrate(url, folder)
    first = folder / "0001_first.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))

    assert migrate(url, folder) == []


def test_a_database_newer_than_the_program_is_refused(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0002_second.sql").unlink()

    with pytest.raises(InvalidInput, match="database is at version 2, this program knows 1: upgrade the program"):
        migrate(url, folder)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        pytest.param("0002_twin.sql", "0002_second.sql and 0002_twin.sql have the same number", id="twice"),
        pytest.param("3_short.sql", "are called NNNN_name.sql, found 3_short.sql", id="not four digits"),
    ],
)
def test_numbers_that_do_not_count_up_are_refused(folder: Path, name: str, complaint: str) -> None:
    (folder / name).write_text("select 1;")
    with pytest.raises(InvalidInput, match=complaint):
        migrate("postgresql://never-asked.invalid/", folder)


def test_a_number_that_comes_later_is_applied_later(url: str, folder: Path) -> None:
    (folder / "0004_fourth.sql").write_text("create table fourth (n int);")
    assert migrate(url, folder)[-1] == "0004_fourth.sql"
    (folder / "0003_third.sql").write_text("create table third (n int);")
    assert migrate(url, folder) == ["0003_third.sql"]
    assert migrate(url, folder) == []


def test_a_folder_without_migrations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no migrations in"):
        migrate("postgresql://never-asked.invalid/", tmp_path)


def test_a_migration_that_hangs_elsewhere_makes_the_next_one_give_up_in_time(url: str, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text("select pg_sleep(600);")
    with ThreadPoolExecutor(1) as elsewhere:
        slow = elsewhere.submit(migrate, url, folder)
        wait_until(lambda: rows(url, "select 1 from pg_stat_activity where query like 'select pg_sleep%'"))

        with pytest.raises(StoreUnavailable, match=r"another process has been migrating this database for 0\.2 s"):
            migrate(url, folder, lock_timeout_s=0.2)

        rows(url, "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'")
        assert isinstance(slow.exception(), StoreUnavailable)


def test_a_table_in_use_makes_a_migration_give_up_in_time(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0003_third.sql").write_text("alter table first add column added int;")
    with psycopg.connect(url) as reader:
        reader.execute("select * from tokenopt.first")

        with pytest.raises(StoreUnavailable, match=r"0003_third.sql waited too long for a lock and was rolled back"):
            migrate(url, folder, lock_timeout_s=0.2)

    assert migrate(url, folder) == ["0003_third.sql"]


def test_a_server_that_does_not_answer_is_named(folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"^database 'works' at 127\.0\.0\.1:1: "):
        migrate("postgresql://ann@127.0.0.1:1/works", folder)
