"""Bounded ways to tool servers: no message is longer than we can bear, and no process outlives its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2

from tokenopt_pipeline.adapters.http_connections import tls

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

# Seconds for a server to end by itself once its input has ended, and after it was asked to. Then it is killed.
_POLITE_S = 1.0
_STDERR_BYTES = 4_096


class Line:
    """The state of one connection: whether it is over, and what is known of why."""

    def __init__(self) -> None:
        #: Set by whoever ends it, us or the server.
        self.over = anyio.Event()
        #: What the server did that we ended it for; empty: nothing.
        self.fault = ""
        self._stderr = b""

    def heard(self, chunk: bytes) -> None:
        """Keeps the end of what the server says on its standard error."""
        self._stderr = (self._stderr + chunk)[-_STDERR_BYTES:]

    @property
    def last_words(self) -> str:
        """The last line of its standard error; empty when there is none."""
        lines = [line.strip() for line in self._stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""


@asynccontextmanager
async def process_streams(
    command: Sequence[str], environment: Mapping[str, str], *, most_bytes: int, line: Line
) -> AsyncIterator[TransportStreams]:
    """Starts the command with exactly this environment and speaks with it line by line, until the block ends.

    The SDK's own transport gives every process six variables of ours and reads a line of any length. Raises OSError.
    """
    from mcp.shared.message import SessionMessage

    process = await anyio.open_process(command, env=dict(environment), start_new_session=True)
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read_lines, process, to_session, most_bytes, line)
            tasks.start_soon(_write_lines, process, from_session, line)
            tasks.start_soon(_read_stderr, process, line)
            try:
                yield from_server, to_server
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
            for stream in (to_session, from_server, from_session, to_server):
                await stream.aclose()


class BoundedTransport(httpx2.AsyncBaseTransport):
    """HTTP whose every response has at most so many bytes, as they are and as they unpack."""

    def __init__(self, most_bytes: int, *, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._inner = inner or httpx2.AsyncHTTPTransport(verify=tls())
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # A few packed kilobytes can hold many gigabytes.
        request.headers["accept-encoding"] = "identity"
        response = await self._inner.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the response is compressed, which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=_BoundedStream(response.stream, self._most_bytes),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._inner = inner
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        n_bytes = 0
        async for chunk in self._inner:
            n_bytes += len(chunk)
            if n_bytes > self._most_bytes:
                # Of the errors of the HTTP library, this is the one that the SDK takes for one response's only.
                raise httpx2.StreamError(f"it sent a message of more than {self._most_bytes} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _read_lines(process: Any, to_session: Any, most_bytes: int, line: Line) -> None:
    """Messages of the server, until it ends, or until one is too long: then nobody waits for anything else of it."""
    read = bytearray()
    try:
        async with to_session:
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
                async for chunk in process.stdout:
                    for piece in _pieces(chunk):
                        read += piece
                        if len(read) > most_bytes:
                            line.fault = f"it sent a message of more than {most_bytes} bytes"
                            return
                        if piece.endswith(b"\n"):
                            if read.strip():
                                await to_session.send(_message(bytes(read)))
                            read.clear()
    finally:
        line.over.set()


def _pieces(chunk: bytes) -> list[bytes]:
    """The lines of a chunk with their ends, the last one perhaps without."""
    *whole, rest = chunk.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _message(line: bytes) -> SessionMessage | Exception:
    """A message; of a line that is none, what is wrong with it, which the session reports to nobody."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as problem:
        return problem


async def _write_lines(process: Any, from_session: Any, line: Line) -> None:
    async with from_session:
        try:
            async for sent in from_session:
                said = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(said.encode() + b"\n")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            line.fault = "it listens no more"
            line.over.set()


async def _read_stderr(process: Any, line: Line) -> None:
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        async for chunk in process.stderr:
            line.heard(chunk)


async def _end(process: Any) -> None:
    """Input ends, then the whole group is asked to end, then it is killed; the process is reaped."""
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    with anyio.move_on_after(_POLITE_S):
        await _exit_of(process)
    await _terminate(process)
    await process.aclose()


async def _exit_of(process: Any) -> None:
    # Waiting for the process itself would also wait for the pipes, which a child of it may hold open.
    while process.returncode is None:
        await anyio.sleep(0.01)


async def _terminate(process: Any) -> None:
    from mcp.os.posix.utilities import terminate_posix_process_tree

    # Children of a server that has ended are in its group still.
    await terminate_posix_process_tree(process, _POLITE_S)
