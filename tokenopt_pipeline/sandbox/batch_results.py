"""Downloads of results, whole or spoilt on purpose."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tokenopt_pipeline.sandbox.batch_faults import BatchFault
from tokenopt_pipeline.sandbox.json_value import Json, as_object, compact

_LINES_AT_A_STRETCH = 200
_ID_NAMES = ("custom_id", "key")


class CutBody(Response):
    """Promises a body, sends half of it and closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        # As in connection.ConnectionReset; closed in order here, so that what was sent arrives.
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is None or not hasattr(transport, "close"):
            raise RuntimeError("results_cut works only when uvicorn serves the sandbox")
        transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


def download(lines: Sequence[bytes], fault: BatchFault | None, *, media_type: str, huge_bytes: int) -> Response:
    """`lines`, one after the other, as `fault` leaves them."""
    if fault is BatchFault.RESULTS_CUT:
        return CutBody(_joined(lines), 200, media_type=media_type)
    if fault is BatchFault.RESULTS_EMPTY:
        return Response(b"", 200, media_type=media_type)
    if fault is BatchFault.RESULTS_GZIPPED:
        return Response(gzip.compress(_joined(lines), mtime=0), 200, media_type=media_type)
    if fault is BatchFault.RESULTS_FOREIGN:
        return Response(
            _joined([_renamed(line, f"foreign-{n}") for n, line in enumerate(lines)]), media_type=media_type
        )
    if fault is BatchFault.RESULTS_GARBLED:
        middle = len(lines) // 2
        garbled = [line[: len(line) // 2] if n == middle else line for n, line in enumerate(lines)]
        return Response(_joined(garbled), 200, media_type=media_type)
    padding_bytes = huge_bytes if fault is BatchFault.RESULTS_HUGE else 0
    return StreamingResponse(_streamed(lines, padding_bytes), 200, media_type=media_type)


async def _streamed(lines: Sequence[bytes], padding_bytes: int) -> AsyncIterator[bytes]:
    sent = 0
    for start in range(0, len(lines), _LINES_AT_A_STRETCH):
        part = _joined(lines[start : start + _LINES_AT_A_STRETCH])
        sent += len(part)
        yield part
    number = 0
    while lines and sent < padding_bytes:
        part = _joined([_renamed(lines[0], f"unknown-{number + n}") for n in range(_LINES_AT_A_STRETCH)])
        number += _LINES_AT_A_STRETCH
        sent += len(part)
        yield part


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _renamed(line: bytes, name: str) -> bytes:
    value: Json = json.loads(line)
    fields = as_object(value)
    return compact({**fields, **{known: name for known in _ID_NAMES if known in fields}}).encode()
