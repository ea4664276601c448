"""How the door is served."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def listening(host: str, port: int) -> socket.socket:
    """A socket; port 0 takes a free one. Raises OSError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, f"{host}:{port}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as problem:
        listener.close()
        raise OSError(problem.errno, problem.strerror, f"{host}:{port}") from None
    return listener


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serves until it is asked to stop."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=2, limit_concurrency=64, access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])
