"""Serving the sandbox over HTTP on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from tokenopt_pipeline.sandbox.app import Clock, build_app
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused

LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
_BACKLOG = 2048


class LoopbackServer(uvicorn.Server):
    """A uvicorn server that says when it accepts connections, and on which port."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    config: SandboxConfig | None = None,
    ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve until interrupted. `ready` is called with the port once connections are accepted.

    Raises ConfigRefused for a host that is not loopback; OSError when the port is taken.
    """
    listening = listen(host, port)
    with listening:
        server = server_on(listening, config or SandboxConfig(), ready)
        server.run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Raises ConfigRefused, OSError."""
    if host not in LOOPBACK_HOSTS:
        raise ConfigRefused(f"the sandbox serves loopback only ({', '.join(LOOPBACK_HOSTS)}), not {host}")
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def server_on(
    listening: socket.socket, config: SandboxConfig, ready: Callable[[int], None], clock: Clock | None = None
) -> LoopbackServer:
    """A server, not yet running, for the connections of `listening`."""
    app = build_app(config) if clock is None else build_app(config, clock)
    settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    port = int(listening.getsockname()[1])
    return LoopbackServer(settings, lambda: ready(port))
