"""The door as an application: raw bytes in, bounded; verified, heard once; anything else is refused and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tokenopt_pipeline.domain.errors import StoreUnavailable
from tokenopt_pipeline.domain.webhooks import (
    MOST_BYTES,
    BatchEvent,
    Message,
    Refusal,
    WebhookRefused,
    check_time,
    event_in,
    message_in,
)

#: Raises WebhookRefused unless the message is the provider's.
CheckSignature = Callable[[Message], None]
_STATUS = {
    Refusal.TOO_LARGE: 413,
    Refusal.UNSIGNED: 401,
    Refusal.STALE: 401,
    Refusal.FORGED: 401,
    Refusal.MALFORMED: 400,
}


class WebhookStore(Protocol):
    """What becomes of messages."""

    def hear(self, event: BatchEvent, *, provider: str, now: datetime) -> bool:
        """Stores the event and has its batch looked at next; False when it was heard before."""
        ...

    def refused(self, refusal: Refusal, *, provider: str, now: datetime) -> None:
        """Counts a message that nobody listened to."""
        ...


def webhook_app(checks: Mapping[str, CheckSignature], store: WebhookStore, *, now: Callable[[], datetime]) -> Starlette:
    """`POST /webhooks/PROVIDER` for each provider of `checks`.

    A message only says which batch to look at: what became of it is always asked of the provider itself. 204 is heard, also a
    second time; 4xx is refused, which the provider need not repeat; 503 asks it to.
    """

    def handle(provider: str, headers: Mapping[str, str], body: bytes) -> int:
        moment = now()
        try:
            message = message_in(headers, body)
            check_time(message, now_s=moment.timestamp())
            checks[provider](message)
            store.hear(event_in(message, provider=provider), provider=provider, now=moment)
        except WebhookRefused as problem:
            store.refused(problem.refusal, provider=provider, now=moment)
            return _STATUS[problem.refusal]
        return 204

    async def door(request: Request) -> Response:
        provider = request.path_params["provider"]
        if provider not in checks:
            told = (
                "Anthropic sends no webhooks about message batches; the sensor looks at them"
                if provider == "anthropic"
                else "nobody of this name is listened to"
            )
            return JSONResponse({"error": told}, 404)
        try:
            body = await _bounded(request)
            status = await run_in_threadpool(handle, provider, dict(request.headers), body)
        except ClientDisconnect:
            return Response(status_code=400)
        except StoreUnavailable:
            return JSONResponse({"error": "try again later"}, 503, headers={"Retry-After": "60"})
        # The body never says which check failed: that would tell a forger how far he has come.
        return Response(status_code=204) if status == 204 else JSONResponse({"error": "refused"}, status)

    return Starlette(routes=[Route("/webhooks/{provider}", door, methods=["POST"])])


async def _bounded(request: Request) -> bytes:
    """The raw body, or its first bytes, one more than may be: what is longer is not read."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MOST_BYTES:
            break
    return bytes(read[: MOST_BYTES + 1])
