"""`up` brings the whole stack, once, and mends it; `down` leaves no process behind and touches no foreign database."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tokenopt_pipeline.cli import stack
from tokenopt_pipeline.cli.detached import start_detached
from tokenopt_pipeline.cli.stack import (
    CODE_SERVER,
    DAEMON,
    PROCESSES,
    WEBSERVER,
    StackStatus,
    stack_status,
    start_stack,
    stop_stack,
)
from tokenopt_pipeline.cli.stack_state import StackState, StackUnavailable, write_state
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings, VendorSettings
from tokenopt_pipeline_tests.postgres_servers import reachable_folder, wait_until


def settings_of(home: Path, database_url: str | None = None) -> Settings:
    return Settings(home=home, database_url=database_url, vendors={})


@pytest.fixture
def home() -> Iterator[Path]:
    with reachable_folder() as folder:
        try:
            yield folder
        finally:
            stop_stack(settings_of(folder))


def with_key(settings: Settings) -> Settings:
    return replace(
        settings, vendors={"anthropic": VendorSettings(has_credentials=True, key_variable="ANTHROPIC_API_KEY")}
    )


def ask(status: StackStatus, query: str) -> Any:
    assert status.url is not None
    connection = http.client.HTTPConnection(status.url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/graphql", json.dumps({"query": query}), headers={"Content-Type": "application/json"})
    answer = json.load(connection.getresponse())
    connection.close()
    return answer


def pids(status: StackStatus) -> dict[str, int]:
    """Of those that run."""
    return {process.name: process.pid for process in status.processes if process.pid is not None}


def processes_of(home: Path) -> list[list[str]]:
    """Command lines of everything alive that has to do with the home."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if any(str(home) in part for part in command) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(command)
    return found


def test_up_then_a_crash_then_up_then_down(home: Path) -> None:
    settings = settings_of(home)
    said: list[str] = []

    first = start_stack(settings, port=0, read_only=False, report=said.append)

    assert first.started == PROCESSES
    assert first.running
    assert first.sandbox_url is not None
    assert any("sandbox" in line for line in said)
    answer = ask(
        first, "{repositoriesOrError{... on RepositoryConnection{nodes{location{name}}}} assetNodes{assetKey{path}}}"
    )
    locations = answer["data"]["repositoriesOrError"]["nodes"]
    assert locations == [{"location": {"name": "tokenopt_pipeline"}}]
    shown = {node["assetKey"]["path"][-1] for node in answer["data"]["assetNodes"]}
    line = {"blocks", "skip_decisions", "routed_packs", "batch_submissions", "model_responses", "reconciled_overlays"}
    assert line < shown

    before = pids(first)
    os.kill(before[DAEMON], signal.SIGKILL)
    wait_until(lambda: not stack_status(settings).running)
    second = start_stack(settings, port=0, read_only=False, report=said.append)

    assert second.started == (DAEMON,)
    assert second.url == first.url
    assert dict(pids(second).items() & before.items()).keys() == {CODE_SERVER, WEBSERVER}

    for other in (replace(settings, database_url="postgresql://me:secret@else/where"), with_key(settings)):
        with pytest.raises(
            InvalidInput, match=r"runs with the embedded database and the sandbox, and not with"
        ) as refused:
            start_stack(other, port=0, read_only=False, report=said.append)
        assert "secret" not in str(refused.value)

    # Asked to let nobody change anything, it may not go on serving one who can.
    third = start_stack(settings, port=0, read_only=True, report=said.append)
    assert third.started == (WEBSERVER,)
    assert third.read_only
    assert "errors" in ask(third, 'mutation { setConcurrencyLimit(concurrencyKey: "x", limit: 1) }')

    assert stop_stack(settings) == [*PROCESSES, "sandbox", "database"]
    assert processes_of(home) == []
    assert pids(stack_status(settings)) == {}
    assert stop_stack(settings) == []


def test_a_start_that_fails_says_why_and_leaves_the_foreign_database_running_and_nothing_else(
    embedded_server: tuple[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = embedded_server
    settings = settings_of(home, url)
    idle = [sys.executable, "-c", "import sys, time; time.sleep(600)", str(home)]
    broken = ["sh", "-c", "echo the reason; exit 3"]
    monkeypatch.setattr(stack, "_commands", lambda *_: {CODE_SERVER: broken, WEBSERVER: idle, DAEMON: idle})
    said: list[str] = []

    with pytest.raises(StackUnavailable, match=r"^the stack did not come up: code-server ended; logs are in .*/stack$"):
        start_stack(settings, port=0, read_only=False, report=said.append)

    assert "code-server: the reason" in said
    assert stop_stack(settings) == ["sandbox"]
    assert processes_of(home) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_port_that_is_taken_is_refused_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"^port {port} on 127.0.0.1 cannot be used .*choose another"):
            start_stack(settings_of(home), port=port, read_only=False, report=print)
    assert processes_of(home) == []


def test_a_number_that_is_no_port_is_refused(home: Path) -> None:
    with pytest.raises(InvalidInput, match="port 70000 is not between 0 and 65535"):
        start_stack(settings_of(home), port=70_000, read_only=False, report=print)


def test_down_also_stops_what_a_code_server_that_crashed_had_started(home: Path) -> None:
    folder = home / "stack"
    folder.mkdir()
    leaving = ["sh", "-c", "sleep 600 & echo left"]
    leader = start_detached(leaving, environment=dict(os.environ), folder=folder, log=folder / "log")
    wait_until(leader.orphans)
    write_state(folder, StackState(former=(leader,)))
    stop_stack(settings_of(home))
    assert leader.session() == []


def test_a_damaged_state_is_named(home: Path) -> None:
    (home / "stack").mkdir()
    (home / "stack" / "state.json").write_text("{}")
    with pytest.raises(StackUnavailable, match=r"state\.json is damaged"):
        stack_status(settings_of(home))
    (home / "stack" / "state.json").unlink()


def test_looking_and_stopping_where_nothing_ever_ran_changes_nothing(home: Path) -> None:
    assert not stack_status(settings_of(home)).running
    assert stop_stack(settings_of(home)) == []
    assert list(home.iterdir()) == []
