"""Tool servers over HTTP: the token reaches them and nobody else, and no response is longer than we can bear."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.mcp_peer import MOST_MESSAGE_BYTES
from tokenopt_pipeline.domain.errors import ToolServerUnavailable
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall, ToolOutcome
from tokenopt_pipeline_tests.tool_servers.faulty import faulty_server

_TOKEN = "recognisable-token-0123456789"


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The app on a port of its own; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


async def _with_token(request: Request, call_next: Any) -> Response:
    if request.headers.get("authorization") != f"Bearer {_TOKEN}":
        return Response(status_code=401)
    answer: Response = await call_next(request)
    return answer


def _app(*, json_response: bool) -> Starlette:
    app = faulty_server().streamable_http_app(json_response=json_response)
    app.user_middleware.append(Middleware(BaseHTTPMiddleware, dispatch=_with_token))
    return app


@pytest.fixture(scope="module", params=[True, False], ids=["json", "events"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with served(_app(json_response=request.param)) as root:
        yield f"{root}/mcp"


def a_host(url: str, *tools: str, token: str = _TOKEN, start_timeout_s: float = 10.0) -> McpHost:
    server = ToolServer(name="web", url=url, token_env="WEB_TOKEN", tools=tools or ("big", "echo", "hang"))
    return McpHost([server], environment={"WEB_TOKEN": token}, start_timeout_s=start_timeout_s)


def call(host: McpHost, name: str, timeout_s: float = 20.0, **arguments: Any) -> ToolOutcome:
    return host.call([ToolCall(call_id="c1", name=f"web__{name}", arguments=arguments)], timeout_s=timeout_s)["c1"]


def test_calls_are_answered_a_hanging_one_is_given_up_and_the_next_is_answered(url: str) -> None:
    with a_host(url) as host:
        assert call(host, "echo", text="hör zu") == ToolOutcome(text="hör zu")
        assert call(host, "hang", timeout_s=0.3) == ToolOutcome(text="no answer within 0.3 seconds", is_error=True)
        assert call(host, "echo", text="still here") == ToolOutcome(text="still here")


def test_a_response_that_is_too_long_is_an_error_of_its_call_only(url: str) -> None:
    with a_host(url) as host:
        assert len(call(host, "big", n_bytes=2_000_000).text) == 2_000_000
        shouted = call(host, "big", n_bytes=MOST_MESSAGE_BYTES)
        assert shouted.is_error
        assert len(shouted.text) < 600
        assert call(host, "echo", text="still here") == ToolOutcome(text="still here")


def test_a_wrong_token_is_told_and_not_repeated(url: str) -> None:
    with a_host(url, token="hunter2-hunter2") as host, pytest.raises(ToolServerUnavailable) as told:
        host.tools()
    assert str(told.value).startswith("tool server web ")
    assert "hunter2" not in str(told.value)


def _answers(response: Response) -> Starlette:
    async def answer(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/mcp", answer, methods=["POST", "GET", "DELETE"])])


def _drip() -> Iterator[bytes]:
    for _ in range(100):
        yield b" "
        time.sleep(0.1)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(lambda: Response("<html>Bad gateway</html>", 502, media_type="text/html"), id="gateway page"),
        pytest.param(lambda: Response("not json", media_type="application/json"), id="no json"),
        pytest.param(lambda: Response(status_code=202), id="accepted"),
        pytest.param(lambda: Response(json.dumps({"id": 1}), media_type="text/plain"), id="another type"),
        pytest.param(
            lambda: Response(
                gzip.compress(b" " * 50_000_000), headers={"content-encoding": "gzip"}, media_type="application/json"
            ),
            id="packed",
        ),
        pytest.param(lambda: StreamingResponse(_drip(), media_type="application/json"), id="drop by drop"),
        pytest.param(lambda: Response(b"data: {}\n\n", media_type="text/event-stream"), id="no event of ours"),
    ],
)
def test_what_is_no_tool_server_is_given_up_in_time(response: Any) -> None:
    started = time.monotonic()
    with served(_answers(response())) as root:
        with a_host(f"{root}/mcp", start_timeout_s=1.0) as host, pytest.raises(ToolServerUnavailable):
            host.tools()
        # Two handshakes, the newer and the older, within the bound of the start; the rest is a busy machine's.
        assert time.monotonic() - started < 15


def test_a_token_does_not_follow_a_redirect_to_somebody_else() -> None:
    seen: list[str | None] = []

    async def thief(request: Request) -> Response:
        seen.append(request.headers.get("authorization"))
        return Response(status_code=404)

    refused = pytest.raises(ToolServerUnavailable)
    with served(Starlette(routes=[Route("/mcp", thief, methods=["POST"])])) as elsewhere:
        away = _answers(RedirectResponse(f"{elsewhere}/mcp", 307))
        with served(away) as root, a_host(f"{root}/mcp", start_timeout_s=2.0) as host, refused:
            host.tools()
    assert not any(seen)
