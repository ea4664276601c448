"""Servers of tools that speak the Model Context Protocol, through its own SDK and behind a façade without async."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenopt_pipeline.adapters.mcp_reading import told_in_one_line
from tokenopt_pipeline.domain.errors import InvalidInput, ToolServerUnavailable
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import Toolbox, ToolCall, ToolOutcome, toolbox

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from mcp.server.lowlevel import Server

# Seconds for work of ours, beside what servers are given.
_OWN_S = 5.0


class McpHost:
    """`ports.ToolHost`: one connection per server, all on one event loop in a thread of its own."""

    def __init__(
        self,
        servers: Sequence[ToolServer],
        *,
        environment: Mapping[str, str],
        start_timeout_s: float,
        builtin: Server[Any] | None = None,
    ) -> None:
        """`environment` has PATH and the variables that the servers name. `builtin` is the product's own server.

        Raises InvalidInput when a token is named that the environment does not have.
        """
        # Here, because it brings an HTTP library along.
        from tokenopt_pipeline.adapters.mcp_peer import Peer

        for server in servers:
            if server.token_env is not None and not environment.get(server.token_env):
                raise InvalidInput(f"bridge.servers.{server.name}.token_env: {server.token_env} is not set")
            if server.builtin and builtin is None:
                raise InvalidInput(f"bridge.servers.{server.name}: the built-in server needs a run")
        self._peers = {
            server.name: Peer(server, environment=environment, start_timeout_s=start_timeout_s, builtin=builtin)
            for server in servers
        }
        self._start_timeout_s = start_timeout_s
        self._box: Toolbox | None = None
        self._portal: BlockingPortal | None = None
        self._is_closed = False
        self._stack = ExitStack()
        self._lock = Lock()

    def tools(self) -> Toolbox:
        """The allowed tools of all servers, which are connected to now if they are not yet."""
        with self._lock:
            if self._box is None:
                portal = self._running()
                listed = [portal.start_task_soon(peer.tools) for peer in self._peers.values()]
                # All have ended, or said why not, before the first that failed is told.
                _, late = wait(listed, timeout=2 * self._start_timeout_s + _OWN_S)
                if late:
                    raise ToolServerUnavailable(f"{len(late)} of {len(listed)} tool servers list no tools in time")
                self._box = toolbox(tool for each in listed for tool in each.result())
            return self._box

    def call(self, calls: Sequence[ToolCall], *, timeout_s: float) -> Mapping[str, ToolOutcome]:
        """Call id -> outcome of every call, made side by side."""
        box = self.tools()
        with self._lock:
            portal = self._running()
        made: dict[str, Future[ToolOutcome]] = {}
        for call in calls:
            tool = box.find(call.name)
            if tool is not None:
                peer = self._peers[tool.server]
                made[call.call_id] = portal.start_task_soon(peer.call, tool.name, call.arguments or {}, timeout_s)
        # The loop bounds a server's time; this bounds the loop's.
        wait(made.values(), timeout=timeout_s + _OWN_S)
        return {call.call_id: _outcome(made.get(call.call_id), call.name, timeout_s) for call in calls}

    def close(self) -> None:
        """Ends every connection and process. Again, it does nothing."""
        with self._lock:
            portal, self._portal, self._is_closed = self._portal, None, True
        if portal is not None:
            wait([portal.start_task_soon(peer.close) for peer in self._peers.values()], timeout=2 * _OWN_S)
            # Whatever is left is cancelled; ends of processes are bounded wherever they are waited for.
            portal.start_task_soon(portal.stop, True)
            self._stack.close()

    def __enter__(self) -> McpHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def protocols(self) -> Mapping[str, str]:
        """Server -> the protocol version that was agreed on with it; empty before it was connected to."""
        return {name: peer.protocol for name, peer in self._peers.items()}

    def _running(self) -> BlockingPortal:
        if self._is_closed:
            raise ToolServerUnavailable("the connections to the tool servers are closed")
        if self._portal is None:
            import mcp  # noqa: F401 - it takes a second, which is not the servers' to spend
            from anyio.from_thread import start_blocking_portal

            # The SDK tells its log whatever servers do wrong; nobody who runs a pipeline asked.
            logging.getLogger("mcp").addHandler(logging.NullHandler())
            self._portal = self._stack.enter_context(start_blocking_portal(name="tool servers"))
        return self._portal


def _outcome(made: Future[ToolOutcome] | None, name: str, timeout_s: float) -> ToolOutcome:
    if made is None:
        return ToolOutcome(text=f"there is no tool {name!r}", is_error=True)
    if not made.done():
        made.cancel()
        return ToolOutcome(text=f"no answer within {timeout_s:g} seconds", is_error=True)
    if made.cancelled():
        return ToolOutcome(text="the connection was closed", is_error=True)
    problem = made.exception()
    return made.result() if problem is None else ToolOutcome(text=told_in_one_line(problem), is_error=True)
