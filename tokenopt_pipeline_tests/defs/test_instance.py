"""Dagster's home is made complete, is found again, and shows nobody a password."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from dagster._serdes import serialize_value

from tokenopt_pipeline.adapters.postgres.server import dagster_url
from tokenopt_pipeline.defs.instance import (
    code_server_socket,
    dagster_environment,
    home_id,
    open_instance,
    process_environment,
)
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings, read_settings
from tokenopt_pipeline_tests.postgres_servers import PLAIN_PASSWORD, reachable_folder, tcp_server

SHIPPED = Path(__file__).parents[2] / "dagster.yaml"


def settings_of(home: Path, database_url: str | None = None) -> Settings:
    return Settings(home=home, database_url=database_url, vendors={})


@pytest.fixture(scope="module")
def url(embedded_server: tuple[str, Path]) -> str:
    return embedded_server[0]


@pytest.fixture
def home() -> Iterator[Path]:
    """With a short path, unlike pytest's."""
    with reachable_folder() as folder:
        yield folder


def test_children_find_the_embedded_database_by_the_home(home: Path, url: str) -> None:
    environment = dagster_environment(settings_of(home), url)
    assert environment == {
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_PG_URL": dagster_url(url),
        "DAGSTER_EVENT_BATCH_SIZE": "200",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "TOKENOPT_HOME": str(home),
    }


def test_children_read_the_settings_of_their_parent_whatever_it_inherited(home: Path, url: str) -> None:
    inherited = {"PATH": "/bin", "TOKENOPT_DATABASE_URL": "postgresql://elsewhere/", "TOKENOPT_HOME": "/elsewhere"}
    for settings in (settings_of(home), settings_of(home, url)):
        environment = process_environment(settings, url, inherited)
        read = read_settings(environment)
        assert (read.home, read.database_url) == (settings.home, settings.database_url)
        assert not read.has_credentials
        assert environment["PATH"] == "/bin"


def test_the_shipped_configuration_replaces_one_of_an_older_version(home: Path, url: str) -> None:
    installed = home / "dagster" / "dagster.yaml"
    installed.parent.mkdir()
    installed.write_text("telemetry: {enabled: true}")
    dagster_environment(settings_of(home), url)
    assert installed.read_bytes() == SHIPPED.read_bytes()
    changed_at = installed.stat().st_mtime_ns
    dagster_environment(settings_of(home), url)
    assert installed.stat().st_mtime_ns == changed_at


def test_an_opened_instance_leaves_the_environment_as_it_was(
    home: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", "postgresql://elsewhere/")
    before = dict(os.environ)
    with open_instance(settings_of(home), url) as instance:
        assert read_settings().database_url is None
        assert instance.root_directory == str(home / "dagster")
        assert instance.get_runs() == []
    assert dict(os.environ) == before


def test_neither_what_dagster_shows_nor_any_file_has_the_password(home: Path) -> None:
    with tcp_server() as server:
        server.create_database("shown")
        shown = server.plain_url("shown")
        with open_instance(settings_of(home, shown), shown) as instance:
            instance.add_dynamic_partitions("shards", ["one"])
            assert instance.get_dynamic_partitions("shards") == ["one"]
            visible = [instance.info_str(), serialize_value(instance.get_ref())]
    files = [path.read_text(errors="replace") for path in home.rglob("*") if path.is_file()]
    for text in (*visible, *files):
        for secret in (PLAIN_PASSWORD, quote(PLAIN_PASSWORD, safe="")):
            assert secret not in text


def test_a_home_keeps_its_id_and_no_two_share_one(home: Path, url: str) -> None:
    first = home_id(home)
    assert first == home_id(home)
    (home / "other").mkdir()
    assert home_id(home / "other") != first


@pytest.mark.parametrize("name", ["plain", "with a space", "percent%41", "long" * 40])
def test_the_code_server_has_a_socket_that_can_be_bound_and_is_only_ours(home: Path, url: str, name: str) -> None:
    settings = settings_of(home / name)
    dagster_environment(settings, url)
    socket = code_server_socket(settings)
    assert socket == code_server_socket(settings)
    assert len(os.fsencode(socket)) <= 103
    assert not set(str(socket)) & set(" %")
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    if not socket.is_relative_to(home):
        socket.parent.rmdir()


def test_a_socket_folder_that_others_may_enter_is_refused(home: Path, url: str) -> None:
    dagster_environment(settings_of(home), url)
    (home / "stack").mkdir()
    (home / "stack").chmod(0o755)
    with pytest.raises(InvalidInput, match="only you may enter"):
        code_server_socket(settings_of(home))
