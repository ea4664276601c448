"""Anthropic's Message Batches through its own SDK: created once, never on a second try, read line by line.

A batch has no tag, so only the ids of its requests, which its results repeat, tell whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.answer_reading import mapping_in, object_in
from tokenopt_pipeline.adapters.anthropic import AnthropicProvider, read_message, request_body
from tokenopt_pipeline.adapters.anthropic_errors import STATUS_OF_TYPE, error_in, mapped_errors, refusal
from tokenopt_pipeline.adapters.batch_lines import append_stream, line_of, moment, request_id_in
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.domain.batches import BatchOutcome, ProviderBatch
from tokenopt_pipeline.domain.errors import ModelUnknown, ProviderUnavailable, RequestRejected
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse

_VENDOR = "anthropic"
_PAGE = 100
_CHUNK_BYTES = 1 << 16


class AnthropicBatches:
    """`ports.BatchProvider` on the connection of the provider that answers calls."""

    def __init__(self, provider: AnthropicProvider) -> None:
        self._provider = provider

    def line(self, request_id: str, request: ModelRequest) -> bytes:
        """The request as it stands in a batch: the same body that a call of its own would have."""
        return line_of({"custom_id": request_id, "params": request_body(request)})

    def create(self, *, tag: str, model: str, lines: Sequence[bytes], timeout_s: float) -> ProviderBatch:
        """Has a batch made, once. When this raises TransientError, the provider may have it all the same."""
        requests: list[Any] = [json.loads(line) for line in lines]
        with mapped_errors(self._provider.secrets):
            return _batch(self._batches.create(requests=requests, timeout=timeout_s).to_dict())

    def listed(self, *, since: datetime, timeout_s: float) -> list[ProviderBatch]:
        """Everybody's batches under the same key that were created since, newest first."""
        found: dict[str, ProviderBatch] = {}
        with mapped_errors(self._provider.secrets):
            page = self._batches.list(limit=_PAGE, timeout=timeout_s)
            while True:
                batches = [_batch(each.to_dict()) for each in page.data]
                fresh = {b.batch_id: b for b in batches if b.created_at >= since and b.batch_id not in found}
                found |= fresh
                # A page without anything new is the last one that matters, whatever the provider says of another.
                if not fresh or not page.has_next_page():
                    return list(found.values())
                page = page.get_next_page()

    def cancel(self, batch_id: str, *, timeout_s: float) -> None:
        """Asks for its end; what is done by then stays."""
        with mapped_errors(self._provider.secrets):
            self._batches.cancel(batch_id, timeout=timeout_s)

    def look(self, batch_id: str, *, timeout_s: float) -> ProviderBatch:
        """How the batch stands. Raises RequestRejected when the provider has none of this id."""
        try:
            with mapped_errors(self._provider.secrets):
                return _batch(self._batches.retrieve(batch_id, timeout=timeout_s).to_dict())
        except ModelUnknown as problem:
            raise RequestRejected(f"{_VENDOR}: batch {batch_id} is not there: {problem}", status=404) from problem

    def download(self, batch_id: str, to: Path, *, timeout_s: float, most_bytes: int | None = None) -> bool | None:
        """Writes the results, a line per request, byte for byte; whether a stand-in sent them."""
        from anthropic._response import StreamedBinaryAPIResponse

        # Not the SDK's `results`: it sends the key to whatever address the batch names.
        path = f"/v1/messages/batches/{batch_id}/results"
        options: Any = {
            "headers": {"Accept": "application/binary", "X-Stainless-Raw-Response": "stream"},
            "timeout": timeout_s,
        }
        with mapped_errors(self._provider.secrets):
            raw: Any = self._provider.connected().get(path, cast_to=StreamedBinaryAPIResponse, options=options)
            try:
                append_stream(raw.iter_bytes(_CHUNK_BYTES), to, most_bytes=most_bytes)
                return SANDBOX_HEADER in raw.headers
            finally:
                raw.close()

    def id_in(self, line: bytes) -> str:
        """The id of the request that a line of results is about. Raises ValueError for a line that cannot be read."""
        return request_id_in(line, "custom_id")

    def response(self, line: str, request: ModelRequest, *, simulated: bool) -> ModelResponse:
        """The answer in a line of results, read as one to a call of its own."""
        result = mapping_in(object_in(line), "result")
        kind = result.get("type")
        if kind == "succeeded":
            return read_message(result.get("message"), {}, simulated=simulated, has_tools=bool(request.tools))
        if kind == "errored":
            body = result.get("error")
            error = error_in(body) or (body if isinstance(body, dict) else {})
            status = STATUS_OF_TYPE.get(str(error.get("type")), 500)
            raise refusal(status, body={"error": error}, headers={})
        raise ProviderUnavailable(f"{_VENDOR}: the request was not carried out: {kind}")

    @property
    def _batches(self) -> Any:
        return self._provider.connected().messages.batches


def _batch(told: Mapping[str, Any]) -> ProviderBatch:
    counts = mapping_in(told, "request_counts")
    numbers = {name: n for name, n in counts.items() if isinstance(n, int)}
    total = sum(numbers.values())
    has_ended = told.get("processing_status") == "ended"
    outcome = None
    if has_ended:
        # Whether each request was carried out stands in the results.
        outcome = BatchOutcome.CANCELLED if told.get("cancel_initiated_at") else BatchOutcome.COMPLETED
    return ProviderBatch(
        batch_id=str(told.get("id")),
        created_at=moment(told.get("created_at"), _VENDOR),
        n_requests=total if numbers else None,
        tag=None,
        outcome=outcome,
        n_done=total - numbers.get("processing", 0) if numbers else None,
        ended_at=moment(told["ended_at"], _VENDOR) if told.get("ended_at") else None,
    )
