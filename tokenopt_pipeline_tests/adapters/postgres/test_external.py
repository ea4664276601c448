"""A server that somebody else runs: checked before use, refused in one line, and its password never shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy

from tokenopt_pipeline.adapters.postgres import server
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable
from tokenopt_pipeline_tests.postgres_servers import PLAIN_PASSWORD, TcpServer, embedded_home, tcp_server


@pytest.fixture(scope="module")
def tcp() -> Iterator[TcpServer]:
    with tcp_server() as running:
        yield running


@pytest.fixture
def database(tcp: TcpServer, request: pytest.FixtureRequest) -> str:
    """A database of the plain role's own, without pgvector."""
    name = request.node.name[:60]
    tcp.create_database(name)
    return str(name)


def as_dba(tcp: TcpServer, database: str, statement: str) -> None:
    with psycopg.connect(tcp.superuser_url, dbname=database, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_plain_role_is_told_what_to_ask_the_dba_for_and_nothing_embedded_starts(
    tcp: TcpServer, database: str, tmp_path: Path
) -> None:
    url = tcp.plain_url(database)

    with pytest.raises(StoreUnavailable, match="ask the DBA for CREATE EXTENSION vector WITH SCHEMA public") as refused:
        server.database_url(external_url=url, home=tmp_path)

    assert str(refused.value).startswith(f"database {database!r} at {tcp.host}:{tcp.port}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_plain_role_migrates_and_serves_dagster_once_the_dba_made_the_extension(
    tcp: TcpServer, database: str, tmp_path: Path
) -> None:
    as_dba(tcp, database, "create extension vector")
    (tmp_path / "0001_vectors.sql").write_text("create table embedding (vector halfvec(3));")

    url = server.database_url(external_url=tcp.plain_url(database), home=tmp_path / "unused")

    assert url == tcp.plain_url(database)
    assert migrate(url, tmp_path) == ["0001_vectors.sql"]
    server.ensure_dagster_schema(url)
    server.ensure_dagster_schema(url)
    assert search_path(server.dagster_url(url)) == "dagster"


def search_path(dagster_url: str) -> object:
    engine = sqlalchemy.create_engine(dagster_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table if not exists made_by_dagster ()")
        assert connection.exec_driver_sql("select to_regclass('dagster.made_by_dagster')").scalar()
        return connection.exec_driver_sql("show search_path").scalar()


def test_a_superuser_gets_the_extension_made(tcp: TcpServer, database: str, tmp_path: Path) -> None:
    url = tcp.superuser_url.removesuffix("postgres") + database

    server.database_url(external_url=url, home=tmp_path)

    with psycopg.connect(url) as connection:
        found = connection.execute("select extnamespace::regnamespace::text from pg_extension where extname = 'vector'")
        assert found.fetchone() == ("public",)


def test_an_extension_in_another_schema_is_refused(tcp: TcpServer, database: str, tmp_path: Path) -> None:
    as_dba(tcp, database, "create schema elsewhere; create extension vector schema elsewhere")

    with pytest.raises(
        StoreUnavailable, match="in schema 'elsewhere': ask the DBA for ALTER EXTENSION vector SET SCHEMA"
    ):
        server.database_url(external_url=tcp.plain_url(database), home=tmp_path)


def test_an_old_extension_is_refused(
    tcp: TcpServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_dba(tcp, database, "create extension vector")
    monkeypatch.setattr(server, "OLDEST_VECTOR", (99, 0))

    with pytest.raises(
        StoreUnavailable, match=r"pgvector 99.0 or newer is needed, the database has 0\..*ALTER EXTENSION"
    ):
        server.database_url(external_url=tcp.plain_url(database), home=tmp_path)


def test_a_server_that_cannot_offer_the_extension_is_refused(
    tcp: TcpServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OLDEST_VECTOR", (99, 0))

    with pytest.raises(StoreUnavailable, match=r"pgvector 99.0 or newer is needed, the server has 0\..*ask the DBA"):
        server.database_url(external_url=tcp.plain_url(database), home=tmp_path)


def test_an_old_server_is_refused(
    tcp: TcpServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OLDEST_SERVER", 99)

    with pytest.raises(StoreUnavailable, match="Postgres 99 or newer is needed, the server is 18"):
        server.database_url(external_url=tcp.plain_url(database), home=tmp_path)


def test_a_role_that_may_not_make_schemas_is_told_what_to_ask_for(tcp: TcpServer) -> None:
    tcp.create_database("foreign", owner="postgres")

    with pytest.raises(StoreUnavailable, match='ask the DBA for GRANT CREATE ON DATABASE "foreign" TO "plain"'):
        server.ensure_dagster_schema(tcp.plain_url("foreign"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"password": "wr0ng-s3cret"}, "password authentication failed", id="wrong password"),
        pytest.param({"database": "missing"}, 'database "missing" does not exist', id="no such database"),
    ],
)
def test_a_connection_that_is_refused_names_the_place_and_hides_the_password(
    tcp: TcpServer, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    called = {"database": "postgres", **change}

    with pytest.raises(StoreUnavailable, match=reason) as refused:
        server.database_url(external_url=tcp.plain_url(**called), home=tmp_path)

    message = str(refused.value)
    assert message.startswith(f"database '{called['database']}' at {tcp.host}:{tcp.port}: ")
    assert "\n" not in message
    assert "wr0ng-s3cret" not in message
    assert PLAIN_PASSWORD not in message


def test_a_host_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        server.database_url(external_url="postgresql://ann:s3cret@127.0.0.1:1/works", home=tmp_path)

    assert str(refused.value).startswith("database 'works' at 127.0.0.1:1: ")
    assert "\n" not in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://ullrich:s3@cret@127.0.0.1/works", id="at sign"),
        pytest.param("postgresql://ullrich:s3/cret@127.0.0.1/works", id="slash"),
        pytest.param("postgresql://ullrich:%zzs3cret@127.0.0.1/works", id="percent"),
        pytest.param("mysql://ullrich:s3cret@127.0.0.1/works", id="another database"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_quoting_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        server.database_url(external_url=url, home=tmp_path)

    for part in ("s3", "cret", "ullrich"):
        assert part not in str(refused.value)
        assert part not in server.redacted(url)
    assert refused.value.__cause__ is None


PASSWORD = quote(PLAIN_PASSWORD, safe="")


@pytest.mark.parametrize(
    ("url", "for_dagster"),
    [
        pytest.param(
            "postgresql://postgres@/tokenopt?host=/srv/pg&port=5432",
            "postgresql+psycopg2://postgres@/tokenopt?host=/srv/pg&port=5432&options=-csearch_path%3Ddagster",
            id="embedded",
        ),
        pytest.param(
            f"postgres://ann:{PASSWORD}@db.example.org:6432/works?sslmode=require",
            f"postgresql+psycopg2://ann:{PASSWORD}@db.example.org:6432/works"
            "?sslmode=require&options=-csearch_path%3Ddagster",
            id="special characters",
        ),
        pytest.param(
            "postgresql://ann@db/works?options=-c%20statement_timeout%3D5s&application_name=a%20b",
            "postgresql+psycopg2://ann@db/works"
            "?options=-c%20statement_timeout%3D5s%20-csearch_path%3Ddagster&application_name=a%20b",
            id="options of its own",
        ),
        pytest.param(
            "postgresql://ann@one:1,two:2/works",
            "postgresql+psycopg2://ann@/works?host=one%2Ctwo&port=1%2C2&options=-csearch_path%3Ddagster",
            id="two hosts",
        ),
    ],
)
def test_dagster_gets_the_same_database_with_its_own_schema_and_driver(url: str, for_dagster: str) -> None:
    assert server.dagster_url(url) == for_dagster


def test_sqlalchemy_and_libpq_read_the_same_thing_out_of_a_dagster_url() -> None:
    url = f"postgresql://a%2Bb:{PASSWORD}@[::1]:6432/w%20s?options=-c%20a%3Db%2Bc"

    read = sqlalchemy.make_url(server.dagster_url(url))

    assert (read.username, read.password, read.database) == ("a+b", PLAIN_PASSWORD, "w s")
    assert dict(read.query) == {"host": "::1", "port": "6432", "options": "-c a=b+c -csearch_path=dagster"}


def test_a_redacted_url_shows_everything_but_secrets() -> None:
    shown = server.redacted(f"postgresql://ann:{PASSWORD}@db:6432/works?sslmode=require&sslpassword=s3cret")

    assert shown == "postgresql://ann:***@db:6432/works?sslmode=require&sslpassword=%2A%2A%2A"


def test_without_a_url_the_embedded_server_is_opened_with_everything_needed() -> None:
    with embedded_home() as home:
        url = server.database_url(external_url=None, home=home)
        server.ensure_dagster_schema(url)

        assert search_path(server.dagster_url(url)) == "dagster"
        with psycopg.connect(url) as connection:
            assert connection.execute("select '[1,2]'::halfvec <-> '[1,2]'").fetchone() == (0.0,)
