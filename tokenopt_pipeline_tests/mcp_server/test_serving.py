"""The server over HTTP: who has the token is answered, a browser's page is not, and the real command serves both ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall
from tokenopt_pipeline.mcp_server import HOST, PATH, http_app, listening, run_server
from tokenopt_pipeline_tests.end_to_end.started import COMMAND
from tokenopt_pipeline_tests.end_to_end.terminal import terminal_at
from tokenopt_pipeline_tests.mcp_server.conftest import Reading
from tokenopt_pipeline_tests.stages.rig import Rig, clauses

_TOKEN = "recognisable-token-0123456789"
_LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server in a thread of this process, ended with it."""
    import uvicorn

    with listening(0) as listener:
        app = http_app(run_server(Reading()), listener, token=_TOKEN)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def answered(port: int, **headers: str) -> httpx2.Response:
    """The answer to a request of an older client with these headers."""
    sent = {
        "authorization": f"Bearer {_TOKEN}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-06-18",
        **headers,
    }
    present = {name: value for name, value in sent.items() if value}
    return httpx2.post(f"http://{HOST}:{port}{PATH}", json=_LIST, headers=present, trust_env=False)


def test_who_has_the_token_is_answered(port: int) -> None:
    answer = answered(port)
    assert answer.status_code == 200
    assert len(answer.json()["result"]["tools"]) == 4


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {_TOKEN}x",
        f"Bearer {_TOKEN[:-1]}",
        f"bearer {_TOKEN}",
        f"Basic {_TOKEN}",
        _TOKEN,
    ],
)
def test_who_has_another_token_or_none_is_not(port: int, authorization: str) -> None:
    answer = answered(port, authorization=authorization)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert _TOKEN not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 421),
        ({"host": "evil.example.com:80"}, 421),
        ({"host": f"{HOST}:1"}, 421),
        ({"origin": "https://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"https://{HOST}"}, 403),
    ],
)
def test_a_page_of_a_browser_is_refused_even_with_the_token(port: int, headers: dict[str, str], status: int) -> None:
    assert answered(port, **headers).status_code == status


def test_a_page_of_this_machine_and_this_port_is_answered(port: int) -> None:
    for name in (HOST, "localhost"):
        assert answered(port, host=f"{name}:{port}", origin=f"http://{name}:{port}").status_code == 200


def test_a_request_that_is_too_long_is_refused(port: int) -> None:
    answer = httpx2.post(
        f"http://{HOST}:{port}{PATH}",
        content=b" " * 70_000,
        headers={"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"},
        trust_env=False,
    )
    assert answer.status_code == 413


def test_other_paths_are_nothing_and_need_the_token_too(port: int) -> None:
    with_token = {"authorization": f"Bearer {_TOKEN}"}
    assert httpx2.get(f"http://{HOST}:{port}/", headers=with_token, trust_env=False).status_code == 404
    assert httpx2.get(f"http://{HOST}:{port}/", trust_env=False).status_code == 401


def test_nobody_listens_for_other_machines() -> None:
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening(0) as listener:
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            listening(listener.getsockname()[1])


def test_our_own_client_reads_from_it(port: int) -> None:
    server = ToolServer(name="own", url=f"http://{HOST}:{port}{PATH}", token_env="T", tools=("get_block_batch",))
    with McpHost([server], environment={"T": _TOKEN}, start_timeout_s=10) as host:
        outcome = _batch(host)
        assert host.protocols == {"own": "2026-07-28"}
    assert [block["text"] for block in outcome["blocks"]] == ["One.", "Two.", "Three."]


def _batch(host: McpHost) -> Any:
    call = ToolCall(call_id="c1", name="own__get_block_batch", arguments={"start": 0, "count": 9})
    outcome = host.call([call], timeout_s=20)["c1"]
    assert not outcome.is_error, outcome
    return outcome.structured


def test_the_command_serves_a_run_over_its_standard_streams(
    connection: Connection, database_url: str, tmp_path: Path
) -> None:
    rig = Rig(connection=connection)
    rig.ingest(*clauses(3))
    run = rig.plan()
    rig.finish(run)
    environment = {**terminal_at(tmp_path, tmp_path).environment, "TOKENOPT_DATABASE_URL": database_url}
    command, *arguments = COMMAND
    server = ToolServer(
        name="own",
        command=command,
        args=(*arguments, "mcp", "serve", "--run", run.run_id),
        env=tuple(environment),
        tools=("get_block_batch", "lookup_previous_results"),
    )
    with McpHost([server], environment=environment, start_timeout_s=60) as host:
        answer = _batch(host)
        uid = answer["blocks"][1]["block_uid"]
        call = ToolCall(call_id="c1", name="own__lookup_previous_results", arguments={"block_uid": uid})
        result = host.call([call], timeout_s=20)["c1"].structured
    assert [block["text"] for block in answer["blocks"]] == clauses(3)
    assert isinstance(result, dict)
    assert result["block"]["status"] == "ai_complete"
    assert len(result["preceding"]) == 1
