"""Dropping a connection without an answer, which ASGI itself has no word for."""

from __future__ import annotations

import socket
import struct

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_LINGER_NOTHING = struct.pack("ii", 1, 0)


class ConnectionReset(Response):
    """Closes the client's connection at once; the client sees a reset, not a status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `receive` is a method of the object that holds the transport; nothing public leads to it.
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        # uvloop's transports have the methods of asyncio.Transport without being one.
        if transport is None or not hasattr(transport, "abort"):
            raise RuntimeError("connection_reset works only when uvicorn serves the sandbox")
        client_socket = transport.get_extra_info("socket")
        if client_socket is not None:
            # With lingering off the kernel sends RST instead of an orderly end.
            client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
