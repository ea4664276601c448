"""How the server is reached: over the standard streams, or over HTTP on loopback by who has the token."""

from __future__ import annotations

import hmac
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.types import ASGIApp, Receive, Scope, Send

#: Where the server listens; no other machine reaches it.
HOST = "127.0.0.1"
PATH = "/mcp"
_MOST_REQUEST_BYTES = 65_536


def serve_stdio(server: Server[Any]) -> None:
    """Serves over the standard streams until the input ends."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)


def serve_http(server: Server[Any], listener: socket.socket, *, token: str) -> None:
    """Serves on a socket that `listening` has opened until it is asked to stop."""
    import uvicorn

    config = uvicorn.Config(http_app(server, listener, token=token), log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listener])


def listening(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError as problem:
        listener.close()
        raise OSError(problem.errno, problem.strerror, f"port {port} of {HOST}") from None
    return listener


def http_app(server: Server[Any], listener: socket.socket, *, token: str) -> ASGIApp:
    """The server as an application that answers only who has the token, and no page of a browser."""
    from mcp.server.transport_security import TransportSecuritySettings

    port = listener.getsockname()[1]
    # What a browser may be made to send: a page elsewhere whose name was turned to this machine.
    here = [f"{HOST}:{port}", f"localhost:{port}"]
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        # No session is kept, so none can be taken over, and none fills the memory.
        stateless_http=True,
        max_request_body_size=_MOST_REQUEST_BYTES,
        transport_security=TransportSecuritySettings(
            allowed_hosts=here, allowed_origins=[f"http://{place}" for place in here]
        ),
    )
    return _OnlyWithToken(app, token)


class _OnlyWithToken:
    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            # Takes as long for a token that begins right as for any other.
            if not hmac.compare_digest(given, self._expected):
                from starlette.responses import Response

                refused = Response("a bearer token is needed", 401, headers={"WWW-Authenticate": "Bearer"})
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)
