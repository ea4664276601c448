"""One tool server and the connection to it, which is made again, a few times, when it was lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from tokenopt_pipeline.adapters.mcp_reading import outcome_of, told_in_one_line, tool_of
from tokenopt_pipeline.adapters.mcp_streams import BoundedTransport, Line, process_streams
from tokenopt_pipeline.domain.errors import InvalidInput, TokenOptError, ToolServerUnavailable
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import Tool, ToolOutcome

if TYPE_CHECKING:
    import mcp
    from mcp.server.lowlevel import Server

#: The longest message that is read. A result is cut much shorter afterwards, by policy.
MOST_MESSAGE_BYTES = 16 * 1024 * 1024
_MOST_PAGES = 50
# A server that was lost is started again for the next call, but not for ever.
_MOST_STARTS = 4
# So many calls without an answer, to them or to any other meanwhile, and a server is taken for hung.
_MOST_SILENT_CALLS = 2
# Seconds to end a connection. Processes have bounds of their own.
_CLOSE_S = 3.0
_SHORTEST_SECRET_CHARS = 6


class Peer:
    """One server. All of it runs on one event loop, and for none of it does a server decide how long it takes."""

    def __init__(
        self,
        server: ToolServer,
        *,
        environment: Mapping[str, str],
        start_timeout_s: float,
        builtin: Server[Any] | None,
    ) -> None:
        self._server = server
        self._environment = {name: environment[name] for name in ("PATH", *server.env) if name in environment}
        self._token = environment.get(server.token_env) if server.token_env is not None else None
        self._start_timeout_s = start_timeout_s
        self._builtin = builtin
        #: Every connection there was, the present one last.
        self._links: list[_Link] = []
        self._silent_calls = 0
        self._answered_s = -math.inf
        #: The protocol version of the connection; empty before there was one.
        self.protocol = ""

    async def tools(self) -> list[Tool]:
        """The allowed tools, each usable. Raises ToolServerUnavailable, InvalidInput."""
        link = await self._connected()
        declared: dict[str, Any] = {}
        try:
            with anyio.fail_after(self._start_timeout_s):
                cursor = None
                for _ in range(_MOST_PAGES):
                    page = await link.client.list_tools(cursor=cursor)
                    declared |= {tool.name: tool for tool in page.tools}
                    cursor = page.next_cursor
                    if cursor is None:
                        break
        except Exception as problem:  # noqa: BLE001 - whatever a server makes the SDK raise, it lists no tools
            raise self._unavailable("does not list its tools", link, problem) from None
        at = f"bridge.servers.{self._server.name}.tools"
        for name in self._server.tools:
            if name not in declared:
                raise InvalidInput(f"{at}: the server has no tool {name!r}; it has: {', '.join(sorted(declared))}")
        return [tool_of(self._server.name, declared[name], where=f"{at}: {name!r}") for name in self._server.tools]

    async def call(self, name: str, arguments: Mapping[str, object], timeout_s: float) -> ToolOutcome:
        """The outcome of one call; whatever goes wrong is an outcome that is an error."""
        outcome = ToolOutcome(text=f"no answer within {timeout_s:g} seconds", is_error=True)
        link, started_s = None, anyio.current_time()
        try:
            with anyio.move_on_after(timeout_s) as scope:
                link = await self._connected()
                outcome = await self._ask(link, name, dict(arguments), timeout_s)
        except TokenOptError as problem:
            return ToolOutcome(text=str(problem), is_error=True)
        except Exception as problem:  # noqa: BLE001 - whatever a server makes the SDK raise is an error of its tool
            return ToolOutcome(text=self._told(link, problem), is_error=True)
        if not scope.cancelled_caught:
            self._answered_s, self._silent_calls = anyio.current_time(), 0
        elif self._answered_s < started_s:
            self._silent_calls += 1
        if self._silent_calls >= _MOST_SILENT_CALLS and link is not None:
            link.line.over.set()
        return outcome

    async def close(self) -> None:
        """Ends the connection, and the process behind it."""
        for link in self._links:
            link.line.over.set()
            await link.ended.wait()

    async def _ask(self, link: _Link, name: str, arguments: dict[str, Any], timeout_s: float) -> ToolOutcome:
        from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult
        from pydantic import TypeAdapter

        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=arguments))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_at, link.ended, tasks.cancel_scope)
            # Not `client.call_tool`: it validates results with the server's own patterns, and a bad one runs for hours.
            # We validate them ourselves, with bounded ones.
            result = await link.client.session.send_request(
                request, TypeAdapter(CallToolResult), request_read_timeout_seconds=timeout_s + _CLOSE_S
            )
            tasks.cancel_scope.cancel()
            return outcome_of(result)
        return ToolOutcome(text=self._told(link, None), is_error=True)

    async def _connected(self) -> _Link:
        """The connection; a new one when there is none. Raises ToolServerUnavailable."""
        if not self._links or self._links[-1].line.over.is_set():
            if len(self._links) >= _MOST_STARTS:
                raise self._unavailable(
                    f"was lost {_MOST_STARTS} times and is not started again", self._links[-1], None
                )
            self._silent_calls = 0
            self._links.append(_Link(self._target, self._start_timeout_s))
        link = self._links[-1]
        await link.ready.wait()
        if link.failure is not None:
            what = "does not start" if self._server.command is not None else "cannot be reached"
            raise self._unavailable(what, link, link.failure)
        self.protocol = link.client.protocol_version
        return link

    @asynccontextmanager
    async def _target(self, line: Line) -> AsyncIterator[Any]:
        """What the SDK's client connects to."""
        async with AsyncExitStack() as stack:
            if self._server.command is not None:
                command = (self._server.command, *self._server.args)
                yield process_streams(command, self._environment, most_bytes=MOST_MESSAGE_BYTES, line=line)
            elif self._server.url is not None:
                import httpx2
                from mcp.client.streamable_http import streamable_http_client

                http_client = httpx2.AsyncClient(
                    headers={} if self._token is None else {"Authorization": f"Bearer {self._token}"},
                    # Reading is bounded by the call that waits for it.
                    timeout=httpx2.Timeout(self._start_timeout_s, read=None),
                    transport=BoundedTransport(MOST_MESSAGE_BYTES),
                )
                await stack.enter_async_context(http_client)
                yield streamable_http_client(
                    self._server.url, http_client=http_client, max_sse_event_size=MOST_MESSAGE_BYTES
                )
            else:
                yield self._builtin

    def _unavailable(self, what: str, link: _Link | None, problem: BaseException | None) -> ToolServerUnavailable:
        return ToolServerUnavailable(f"tool server {self._server.name} {what}: {self._told(link, problem)}")

    def _told(self, link: _Link | None, problem: BaseException | None) -> str:
        """Why something failed, in one line and without any value that only the server was given."""
        reasons = [link.line.fault] if link is not None else []
        if isinstance(problem, TimeoutError):
            reasons.append(f"no answer within {self._start_timeout_s:g} seconds")
        elif problem is not None:
            reasons.append(told_in_one_line(problem))
        if link is not None and link.line.last_words:
            reasons.append(f"its last words: {link.line.last_words[:200]}")
        said = "; ".join(reason for reason in reasons if reason) or "the connection ended"
        for secret in (self._token, *(v for name, v in self._environment.items() if name != "PATH")):
            if secret is not None and len(secret) >= _SHORTEST_SECRET_CHARS:
                said = said.replace(secret, "***")
        return said


class _Link:
    """One connection, which one task opens, holds and closes, as the SDK demands."""

    def __init__(self, target: Any, start_timeout_s: float) -> None:
        self.line = Line()
        self.ready, self.ended = anyio.Event(), anyio.Event()
        #: Why there is no connection.
        self.failure: BaseException | None = None
        self.client: mcp.Client
        self._target = target
        self._start_timeout_s = start_timeout_s
        self._task = asyncio.get_running_loop().create_task(self._hold())

    async def _hold(self) -> None:
        import mcp

        try:
            with anyio.fail_after(self._start_timeout_s) as scope:
                async with self._target(self.line) as target, mcp.Client(target, cache=None) as self.client:
                    scope.deadline = math.inf
                    self.ready.set()
                    await self.line.over.wait()
                    scope.deadline = anyio.current_time() + _CLOSE_S
        except Exception as problem:  # noqa: BLE001 - whatever a server makes the SDK raise ends its connection
            self.failure = problem
        finally:
            self.line.over.set()
            self.ended.set()
            self.ready.set()


async def _cancel_at(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
