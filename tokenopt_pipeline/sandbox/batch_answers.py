"""Answering a batch's items with the very handlers that answer calls, minus what only a caller who waits would notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.types import Message

from tokenopt_pipeline.sandbox.batches import Outcome, OutcomeKind
from tokenopt_pipeline.sandbox.door import Door, Handler, Refusal
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import as_object
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse

# A provider tries again by itself until these have passed.
_PASSING = frozenset(
    {
        *(Fault.RATE_LIMIT_429, Fault.OVERLOADED_529, Fault.CONNECTION_RESET, Fault.SLOW),
        *(Fault.SPEND_LIMIT_429, Fault.USAGE_LIMIT_400),
    }
)


class Unhurried(Door):
    """A door for items of batches: no rate limit, no waiting, no fault that only the connection would show."""

    def _admit(self) -> None:
        """Batches have limits of their own."""

    def _draw_fault(self, body: bytes, texts: Callable[[], Iterable[str]]) -> Fault | None:
        fault = super()._draw_fault(body, texts)
        return None if fault in _PASSING else fault

    async def _begin_response(self, fault: Fault | None, use: CacheUse) -> None:
        self._engine.cache.begin_response(use)

    async def _write_out(self, output_tokens: int) -> None:
        """Nobody waits."""


async def answered(
    handler: Handler, body: bytes, request_id: str, headers: Mapping[str, str], path: Mapping[str, str]
) -> Outcome:
    """What `handler` answers to `body`."""
    try:
        response = await handler(_as_request(body, headers, path), request_id)
    except Refusal as refusal:
        return Outcome(kind=OutcomeKind.ERRORED, status=refusal.status, body=refusal.body(request_id))
    kind = OutcomeKind.SUCCEEDED if response.status_code < 400 else OutcomeKind.ERRORED
    return Outcome(kind=kind, status=response.status_code, body=as_object(json.loads(bytes(response.body))))


def _as_request(body: bytes, headers: Mapping[str, str], path: Mapping[str, str]) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "path_params": dict(path),
        },
        receive,
    )
