"""Tool servers that hang, crash, lie, shout or never were: each ends as a tool error, and nothing is left running."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tokenopt_pipeline.adapters.mcp_client import McpHost, _outcome
from tokenopt_pipeline.domain.errors import InvalidInput, ToolServerUnavailable
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall, ToolOutcome
from tokenopt_pipeline_tests.tool_servers import faulty, legacy
from tokenopt_pipeline_tests.tool_servers.faulty import INJECTION, TOOLS, faulty_server

_ENVIRONMENT = {"PATH": os.environ["PATH"], "SHOWN": "shown-value", "HIDDEN": "hidden-value"}
_LEGACY_TOOLS = ("child", "die", "echo", "endless", "garbage", "odd", "pid")


def a_host(*servers: ToolServer, environment: dict[str, str] | None = None, start_timeout_s: float = 30.0) -> McpHost:
    return McpHost(
        servers,
        environment=_ENVIRONMENT if environment is None else environment,
        start_timeout_s=start_timeout_s,
        builtin=faulty_server(),
    )


def a_legacy(manner: str = "plain", **changes: Any) -> ToolServer:
    members: dict[str, Any] = {"name": "old", "tools": _LEGACY_TOOLS, **changes}
    return ToolServer(command=sys.executable, args=("-S", legacy.__file__, manner), **members)


def call(host: McpHost, name: str, timeout_s: float = 10.0, **arguments: Any) -> ToolOutcome:
    """The outcome of one call of `server__tool`."""
    return host.call([ToolCall(call_id="c1", name=name, arguments=arguments)], timeout_s=timeout_s)["c1"]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every test closes its host: then its threads and processes are gone."""
    before, threads = children(), set(threading.enumerate())
    yield
    assert children() <= before
    assert set(threading.enumerate()) <= threads


@pytest.fixture(scope="module")
def own() -> Iterator[McpHost]:
    """The faulty server inside this process."""
    with a_host(ToolServer(name="own", builtin=True, tools=tuple(TOOLS))) as host:
        host.tools()
        yield host


def test_allowed_tools_are_listed_with_their_schemas_and_no_others() -> None:
    with a_host(ToolServer(name="own", builtin=True, tools=("echo", "honest"))) as host:
        echo, honest = host.tools().tools
        assert (echo.wire_name, echo.description, echo.output_schema) == ("own__echo", "echos", None)
        assert echo.input_schema["required"] == ["text"]
        assert honest.output_schema is not None
        assert host.protocols == {"own": "2026-07-28"}
        assert call(host, "own__crash").text == "there is no tool 'own__crash'"


def test_calls_go_side_by_side_and_every_outcome_has_its_id(own: McpHost) -> None:
    hanging = [ToolCall(call_id=f"h{i}", name="own__hang", arguments={}) for i in range(3)]
    calls = [*hanging, *(ToolCall(call_id=f"e{i}", name="own__echo", arguments={"text": f"t{i}"}) for i in range(9))]
    started = time.monotonic()
    outcomes = own.call(calls, timeout_s=1.5)
    assert time.monotonic() - started < 10
    assert [outcomes[f"e{i}"].text for i in range(9)] == [f"t{i}" for i in range(9)]
    given_up = ToolOutcome(text="no answer within 1.5 seconds", is_error=True)
    assert [outcomes[c.call_id] for c in hanging] == [given_up] * 3
    # It has answered others meanwhile, so it is not taken for hung.
    assert len(own._peers["own"]._links) == 1


def test_threads_share_a_host(own: McpHost) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda i: call(own, "own__echo", text=f"t{i}").text, range(40)))
    assert said == [f"t{i}" for i in range(40)]


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("fail", ToolOutcome(text="the file is locked", is_error=True)),
        ("honest", ToolOutcome(text="", structured={"n": 1})),
        # Whether that is a lie is for the loop to say, by the schema.
        ("lie", ToolOutcome(text="n is 1", structured={"n": "one"})),
        ("silent", ToolOutcome(text="n is 1")),
        ("inject", ToolOutcome(text=INJECTION)),
        ("mixed", ToolOutcome(text="a picture:\n[image image/png, 3 bytes, not shown]")),
    ],
)
def test_an_outcome_is_what_the_server_said(own: McpHost, name: str, outcome: ToolOutcome) -> None:
    assert call(own, f"own__{name}") == outcome


def test_a_server_that_raises_is_an_error_of_its_tool(own: McpHost) -> None:
    assert call(own, "own__raise").is_error
    assert call(own, "own__echo", text="still here").text == "still here"


def test_a_process_sees_path_and_what_it_was_allowed_and_is_started_again_after_it_crashed() -> None:
    server = ToolServer(
        name="far",
        command=sys.executable,
        args=(faulty.__file__,),
        env=("SHOWN",),
        tools=("big", "crash", "environment"),
    )
    with a_host(server) as host:
        seen = json.loads(call(host, "far__environment").text)
        # The interpreter itself adds one.
        assert set(seen) - {"LC_CTYPE"} == {"PATH", "SHOWN"}
        assert len(call(host, "far__big", n_bytes=10_000_000).text) == 10_000_000
        crashed = call(host, "far__crash")
        assert crashed.is_error
        assert "cannot go on: out of cheese" in crashed.text
        assert call(host, "far__big", timeout_s=30, n_bytes=3) == ToolOutcome(text="xxx")


# --- the older protocol, and what servers do to pipes


def test_a_legacy_server_that_lists_its_tools_page_by_page_is_understood() -> None:
    with a_host(a_legacy()) as host:
        assert [tool.name for tool in host.tools().tools] == list(_LEGACY_TOOLS)
        assert host.protocols == {"old": "2024-11-05"}
        assert call(host, "old__echo", text="hör zu") == ToolOutcome(text="hör zu")
        assert call(host, "old__garbage", text="after it") == ToolOutcome(text="after it")
        assert call(host, "old__odd").is_error


def test_a_message_without_end_ends_the_connection_at_a_bound_and_the_next_call_makes_a_new_one() -> None:
    with a_host(a_legacy()) as host:
        first = call(host, "old__pid").text
        shouted = call(host, "old__endless", timeout_s=30)
        assert (shouted.is_error, "a message of more than 16777216 bytes" in shouted.text) == (True, True)
        again = call(host, "old__pid", timeout_s=30).text
        assert again != first
    assert not psutil.pid_exists(int(first))


def test_a_server_that_dies_again_and_again_is_not_started_for_ever() -> None:
    with a_host(a_legacy()) as host:
        host.tools()
        died = [call(host, "old__die").text for _ in range(6)]
    assert ["no more" in text for text in died[:4]] == [True] * 4
    assert ["was lost 4 times and is not started again" in text for text in died[4:]] == [True] * 2


def test_a_server_that_answers_two_calls_in_a_row_not_at_all_is_taken_for_hung_and_replaced() -> None:
    server = ToolServer(name="own", builtin=True, tools=("echo", "hang"))
    with a_host(server) as host:
        host.tools()
        assert [call(host, "own__hang", timeout_s=0.2).is_error for _ in range(2)] == [True, True]
        assert call(host, "own__echo", text="anew").text == "anew"
        assert len(host._peers["own"]._links) == 2


def test_a_server_that_stops_listening_is_replaced() -> None:
    with a_host(a_legacy("deaf")) as host:
        host.tools()
        first = host._peers["old"]._links[0]
        assert "no answer within" in call(host, "old__echo", timeout_s=0.5).text
        # It is told that nobody waits any more, and that it cannot be told.
        assert call(host, "old__echo", timeout_s=0.5).is_error
        assert first.line.fault == "it listens no more"
        assert len(host._peers["old"]._links) == 2


def test_closing_ends_the_calls_that_are_under_way() -> None:
    host = a_host(ToolServer(name="own", builtin=True, tools=("hang",)))
    host.tools()
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(call, host, "own__hang", 30.0)
        time.sleep(0.3)
        started = time.monotonic()
        host.close()
        assert under_way.result().is_error
    assert time.monotonic() - started < 15


def test_what_the_loop_does_not_answer_in_time_is_an_error_too() -> None:
    assert _outcome(Future(), "t", 2.0) == ToolOutcome(text="no answer within 2 seconds", is_error=True)
    broken: Future[ToolOutcome] = Future()
    broken.set_exception(RuntimeError("loop\nbroken"))
    assert _outcome(broken, "t", 2.0) == ToolOutcome(text="loop broken", is_error=True)
    cancelled: Future[ToolOutcome] = Future()
    cancelled.cancel()
    assert _outcome(cancelled, "t", 2.0) == ToolOutcome(text="the connection was closed", is_error=True)


@pytest.mark.parametrize("manner", ["plain", "stubborn"])
def test_no_process_outlives_its_host_not_even_a_child_of_it_or_one_that_will_not_end(manner: str) -> None:
    with a_host(a_legacy(manner)) as host:
        pids = [int(call(host, f"old__{name}").text) for name in ("pid", "child")]
        assert all(psutil.pid_exists(pid) for pid in pids)
    # A child that lost its parent is reaped by whoever adopts it.
    assert all(not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie" for pid in pids)


# --- servers that are not there


@pytest.mark.parametrize(
    ("server", "said"),
    [
        pytest.param(
            a_legacy("silent", env=("SECRET",)), "tool server old does not start: no answer within 1", id="silent"
        ),
        pytest.param(
            a_legacy("listless"), "tool server old does not list its tools: no answer within 1.5", id="listless"
        ),
        pytest.param(
            ToolServer(name="old", command="no-such-program", tools=("a",)),
            "does not start: [Errno 2]",
            id="no program",
        ),
        pytest.param(
            ToolServer(name="old", command=sys.executable, args=("-c", "1/0"), tools=("a",)),
            "its last words: ZeroDivisionError",
            id="broken program",
        ),
        pytest.param(
            ToolServer(name="old", url="http://127.0.0.1:9/mcp", tools=("a",)), "old cannot be reached", id="no address"
        ),
    ],
)
def test_a_server_that_does_not_start_is_told_in_one_line_without_its_secrets(server: ToolServer, said: str) -> None:
    environment = {**_ENVIRONMENT, "SECRET": "hunter2-in-the-log"}
    with a_host(server, environment=environment, start_timeout_s=1.5) as host:
        with pytest.raises(ToolServerUnavailable) as told:
            host.tools()
        assert said in str(told.value)
        assert "hunter2" not in str(told.value)
        assert "\n" not in str(told.value)


def test_pages_without_end_are_not_read_for_ever() -> None:
    told = pytest.raises(InvalidInput, match="the server has no tool 'nowhere'; it has: child, die, echo")
    with a_host(a_legacy("pages", tools=("nowhere",))) as host, told:
        host.tools()


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (
            ToolServer(name="web", url="http://x/mcp", token_env="NOT_SET", tools=("a",)),
            "web.token_env: NOT_SET is not set",
        ),
        (ToolServer(name="own", builtin=True, tools=("a",)), "the built-in server needs a run"),
    ],
)
def test_what_a_server_lacks_is_told_before_anything_starts(server: ToolServer, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        McpHost([server], environment={}, start_timeout_s=1)


def test_a_closed_host_stays_closed() -> None:
    host = a_host(ToolServer(name="own", builtin=True, tools=("echo",)))
    host.tools()
    host.close()
    host.close()
    with pytest.raises(ToolServerUnavailable, match="are closed"):
        host.call([ToolCall(call_id="c1", name="own__echo", arguments={})], timeout_s=1)
    never_opened = a_host(ToolServer(name="own", builtin=True, tools=("echo",)))
    never_opened.close()
