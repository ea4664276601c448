"""`tokenopt mcp serve`: what it prints, when it refuses to start, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from pathlib import Path

import httpx2
import pytest

from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline_tests.end_to_end.terminal import Terminal, finish, terminal_at
from tokenopt_pipeline_tests.stages.rig import Rig, clauses

_URL = re.compile(r"serving run run1 on (http://127\.0\.0\.1:\d+/mcp)")


@pytest.fixture
def terminal(connection: Connection, database_url: str, tmp_path: Path) -> Terminal:
    """A terminal on a database with the run `run1`."""
    rig = Rig(connection=connection)
    rig.ingest(*clauses(2))
    rig.plan()
    return terminal_at(tmp_path, tmp_path, TOKENOPT_DATABASE_URL=database_url)


def _served(terminal: Terminal, *, token: str | None) -> tuple[str, str]:
    """(what the server said on stderr, status of a request with the token) before it was interrupted."""
    started = terminal.start("mcp", "serve", "--run", "run1", "--http", "0")
    deadline = time.monotonic() + 60
    while (found := _URL.search(started.said()[1])) is None:
        assert started.wait(0) is None, started.said()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if token is None:
        time.sleep(0.1)
        token = started.said()[1].split("bearer token: ")[1].split()[0]
    ping = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    while True:
        try:
            status = httpx2.post(found[1], json=ping, headers=headers, trust_env=False).status_code
            break
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    started.send(signal.SIGINT)
    ended = finish(started)
    assert (ended.code, ended.out) == (0, "")
    return ended.err, str(status)


def test_a_token_that_was_made_up_is_printed_once_and_opens_the_door(terminal: Terminal) -> None:
    said, status = _served(terminal, token=None)
    assert said.count("bearer token: ") == 1
    assert status == "200"


def test_a_token_from_the_environment_opens_the_door_and_is_not_printed(terminal: Terminal) -> None:
    token = "recognisable-token-0123456789"
    said, status = _served(terminal.but(TOKENOPT_MCP_TOKEN=token), token=token)
    assert token not in said
    assert status == "200"


@pytest.mark.parametrize(
    "token", ["short", "has a space in it, and more", "line\nbreak-0123456789", "ümlaut-0123456789"]
)
def test_a_token_that_no_header_should_carry_is_refused_and_not_repeated(terminal: Terminal, token: str) -> None:
    refused = terminal.but(TOKENOPT_MCP_TOKEN=token).tok("mcp", "serve", "--run", "run1", "--http", "0", code=2)
    assert refused.problem.startswith("TOKENOPT_MCP_TOKEN: at least 16 characters")
    assert token not in refused.err


def test_a_run_that_is_not_there_is_bad_input(terminal: Terminal) -> None:
    assert "run2" in terminal.tok("mcp", "serve", "--run", "run2", code=2).problem


def test_a_port_that_is_taken_is_a_missing_dependency(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert port in terminal.tok("mcp", "serve", "--run", "run1", "--http", port, code=4).problem


def test_over_the_standard_streams_it_ends_with_its_input_and_prints_nothing_else(terminal: Terminal) -> None:
    ended = terminal.tok("mcp", "serve", "--run", "run1")
    assert ended.out == ""
    assert json.dumps(ended.err) == '""'
