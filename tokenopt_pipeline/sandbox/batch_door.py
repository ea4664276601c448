"""What the doors to batches of all providers share: who asks, bodies of their own size, creates and uploads that go wrong."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from tokenopt_pipeline.sandbox.batch_faults import BatchFault, Occasion
from tokenopt_pipeline.sandbox.batch_running import BatchRunner
from tokenopt_pipeline.sandbox.batches import Batch
from tokenopt_pipeline.sandbox.connection import ConnectionReset
from tokenopt_pipeline.sandbox.door import Door
from tokenopt_pipeline.sandbox.faults import Fault

_REFUSED = (BatchFault.CREATE_500, BatchFault.UPLOAD_500)
_REFUSED_AFTER_ACCEPT = BatchFault.CREATE_500_AFTER_ACCEPT
_RESET_AFTER_ACCEPT = (BatchFault.CREATE_RESET_AFTER_ACCEPT, BatchFault.UPLOAD_RESET_AFTER_ACCEPT)


class BatchDoor(Door):
    """A door's share in what can go wrong with batches."""

    @property
    def _runner(self) -> BatchRunner:
        return self._engine.batches

    def _listed(self, provider: str, key: str) -> list[Batch]:
        """This key's batches, newest first, as a listing shows them."""
        found = self._runner.book.of(provider, key)
        fault = self._runner.decide(Occasion.LIST, provider.encode(), provider)
        if fault is BatchFault.LIST_EMPTY:
            return []
        return [found[0], *found] if fault is BatchFault.LIST_REPEATED and found else found

    async def _large_body(self, http: Request, limit_bytes: int) -> bytes:
        """The request's body, as large as a batch may be. Raises Refusal."""
        limit = self._runner.settings.max_bytes or limit_bytes
        parts = []
        received = 0
        async for part in http.stream():
            received += len(part)
            if received <= limit:
                parts.append(part)
        if received > limit:
            raise self._too_large()
        return b"".join(parts)

    def _accepting(self, occasion: Occasion, content: bytes, identity: str, accept: Callable[[], Response]) -> Response:
        """What `accept` answers, unless this create or upload goes wrong before or after it. Raises Refusal."""
        fault = self._runner.decide(occasion, content, identity)
        if fault is BatchFault.CREATE_RESET:
            return ConnectionReset()
        if fault in _REFUSED:
            self._raise_fault(Fault.SERVER_ERROR_500)
        response = accept()
        if fault is _REFUSED_AFTER_ACCEPT:
            self._raise_fault(Fault.SERVER_ERROR_500)
        return ConnectionReset() if fault in _RESET_AFTER_ACCEPT else response
