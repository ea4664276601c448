"""OpenAI's Batch API through its own SDK: a file of requests, a batch over it with our tag, files of results and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tokenopt_pipeline.adapters.answer_reading import mapping_in, object_in
from tokenopt_pipeline.adapters.batch_lines import append_stream, line_of, moment, request_id_in
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.adapters.openai import OpenAIProvider, read_response, request_body, strict_schema
from tokenopt_pipeline.adapters.openai_errors import mapped_errors, refusal
from tokenopt_pipeline.domain.batches import BatchOutcome, ProviderBatch
from tokenopt_pipeline.domain.errors import (
    BatchNotMade,
    ModelUnknown,
    ProviderUnavailable,
    RequestRejected,
    TransientError,
)
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse

_VENDOR = "openai"
_ENDPOINT: Literal["/v1/responses"] = "/v1/responses"
_TAG = "tokenopt"
_PAGE = 100
_CHUNK_BYTES = 1 << 16
_OUTCOMES = {
    "completed": BatchOutcome.COMPLETED,
    "failed": BatchOutcome.FAILED,
    "expired": BatchOutcome.EXPIRED,
    "cancelled": BatchOutcome.CANCELLED,
}


class OpenAIBatches:
    """`ports.BatchProvider` on the connection of the provider that answers calls."""

    def __init__(self, provider: OpenAIProvider) -> None:
        self._provider = provider

    def line(self, request_id: str, request: ModelRequest) -> bytes:
        """The request as it stands in a batch: the same body that a call of its own would have."""
        body = request_body(request, strict_schema(request))
        return line_of({"custom_id": request_id, "method": "POST", "url": _ENDPOINT, "body": body})

    def create(self, *, tag: str, model: str, lines: Sequence[bytes], timeout_s: float) -> ProviderBatch:
        """Has a batch made, once. When this raises TransientError other than BatchNotMade, the provider may have it."""
        client = self._provider.connected()
        try:
            with mapped_errors(_VENDOR, self._provider.secrets):
                file = client.files.create(
                    file=(f"{tag}.jsonl", b"\n".join(lines) + b"\n"), purpose="batch", timeout=timeout_s
                )
        except TransientError as problem:
            # A file that arrived all the same costs nothing.
            raise BatchNotMade(f"the file of requests was not taken: {problem}") from problem
        with mapped_errors(_VENDOR, self._provider.secrets):
            made = client.batches.create(
                input_file_id=file.id,
                endpoint=_ENDPOINT,
                completion_window="24h",
                metadata={_TAG: tag},
                timeout=timeout_s,
            )
            return _batch(made.to_dict())

    def listed(self, *, since: datetime, timeout_s: float) -> list[ProviderBatch]:
        """Everybody's batches under the same key that were created since, newest first."""
        found: dict[str, ProviderBatch] = {}
        with mapped_errors(_VENDOR, self._provider.secrets):
            page = self._provider.connected().batches.list(limit=_PAGE, timeout=timeout_s)
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
        with mapped_errors(_VENDOR, self._provider.secrets):
            self._provider.connected().batches.cancel(batch_id, timeout=timeout_s)

    def look(self, batch_id: str, *, timeout_s: float) -> ProviderBatch:
        """How the batch stands. Raises RequestRejected when the provider has none of this id."""
        return _batch(self._retrieved(batch_id, timeout_s))

    def download(self, batch_id: str, to: Path, *, timeout_s: float, most_bytes: int | None = None) -> bool | None:
        """Writes results and errors, a line per request, byte for byte; whether a stand-in sent them, None without any."""
        told = self._retrieved(batch_id, timeout_s)
        simulated: bool | None = None
        for file_id in (told.get("output_file_id"), told.get("error_file_id")):
            if not isinstance(file_id, str):
                continue
            files = self._provider.connected().files.with_streaming_response
            with (
                mapped_errors(_VENDOR, self._provider.secrets),
                files.content(file_id, timeout=timeout_s) as response,
            ):
                append_stream(response.iter_bytes(_CHUNK_BYTES), to, most_bytes=most_bytes)
                simulated = SANDBOX_HEADER in response.headers
        return simulated

    def id_in(self, line: bytes) -> str:
        """The id of the request that a line of results is about. Raises ValueError for a line that cannot be read."""
        return request_id_in(line, "custom_id")

    def response(self, line: str, request: ModelRequest, *, simulated: bool) -> ModelResponse:
        """The answer in a line of results, read as one to a call of its own."""
        told = object_in(line)
        answer = mapping_in(told, "response")
        status = answer.get("status_code")
        if not isinstance(status, int):
            error = mapping_in(told, "error")
            raise ProviderUnavailable(
                f"{_VENDOR}: the request was not carried out: {error.get('message') or error.get('code') or 'no reason'}"
            )
        headers = {"x-request-id": str(answer["request_id"])} if answer.get("request_id") else {}
        body = answer.get("body")
        if status != 200:
            raise refusal(_VENDOR, status, body=body, headers=headers)
        message = body if isinstance(body, dict) else {}
        return read_response(message, headers, request=request, strict=strict_schema(request), simulated=simulated)

    def _retrieved(self, batch_id: str, timeout_s: float) -> dict[str, Any]:
        try:
            with mapped_errors(_VENDOR, self._provider.secrets):
                return self._provider.connected().batches.retrieve(batch_id, timeout=timeout_s).to_dict()
        except ModelUnknown as problem:
            raise RequestRejected(f"{_VENDOR}: batch {batch_id} is not there: {problem}", status=404) from problem


def _batch(told: Mapping[str, Any]) -> ProviderBatch:
    counts = mapping_in(told, "request_counts")
    total = counts.get("total")
    done = [n for n in (counts.get("completed"), counts.get("failed")) if isinstance(n, int)]
    tag = mapping_in(told, "metadata").get(_TAG)
    errors = mapping_in(told, "errors").get("data")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return ProviderBatch(
        batch_id=str(told.get("id")),
        created_at=moment(told.get("created_at"), _VENDOR),
        # While the file is checked the total is 0.
        n_requests=total if isinstance(total, int) and total else None,
        tag=tag if isinstance(tag, str) else None,
        outcome=_OUTCOMES.get(str(told.get("status"))),
        n_done=sum(done) if done else None,
        reason=" ".join(str(first["message"]).split()) if first.get("message") else None,
    )
