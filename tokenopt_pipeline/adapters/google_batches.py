"""Google's batch mode through its own SDK: a file of requests, a batch over it with our name, a file of results."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tokenopt_pipeline.adapters.answer_reading import mapping_in, object_in
from tokenopt_pipeline.adapters.batch_lines import Bounded, EnoughRead, append_stream, line_of, moment, request_id_in
from tokenopt_pipeline.adapters.google import GoogleProvider, read_response
from tokenopt_pipeline.adapters.google_errors import mapped_errors, refusal, status_behind
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.adapters.http_refusals import error_in
from tokenopt_pipeline.domain.batches import BatchOutcome, ProviderBatch
from tokenopt_pipeline.domain.errors import (
    BatchNotMade,
    ModelUnknown,
    ProviderUnavailable,
    RequestRejected,
    TransientError,
)
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse

_VENDOR = "google"
_PAGE = 100
_OUTCOMES = {
    "SUCCEEDED": BatchOutcome.COMPLETED,
    "FAILED": BatchOutcome.FAILED,
    "CANCELLED": BatchOutcome.CANCELLED,
    "EXPIRED": BatchOutcome.EXPIRED,
}
# What the status of an item's error is called by number (google.rpc.Code).
_CANCELLED_CODES = frozenset({1, 4})


class GoogleBatches:
    """`ports.BatchProvider` on the connection of the provider that answers calls."""

    def __init__(self, provider: GoogleProvider) -> None:
        self._provider = provider

    def line(self, request_id: str, request: ModelRequest) -> bytes:
        """The request as it stands in a batch: the same body that a call of its own would have."""
        return line_of({"key": request_id, "request": self._provider.body_of(request)})

    def create(self, *, tag: str, model: str, lines: Sequence[bytes], timeout_s: float) -> ProviderBatch:
        """Has a batch made, once. When this raises TransientError other than BatchNotMade, the provider may have it."""
        from google.genai import types

        client = self._provider.connected()
        options = _options(timeout_s)
        try:
            with mapped_errors(self._provider.secrets):
                file = client.files.upload(
                    file=io.BytesIO(b"\n".join(lines) + b"\n"),
                    config=types.UploadFileConfig(
                        display_name=tag, mime_type="application/jsonl", http_options=options
                    ),
                )
        except (TransientError, RequestRejected) as problem:
            # The SDK goes on with an upload that failed, and then meets a refusal. A file that arrived all the same costs
            # nothing, and is gone after two days.
            raise BatchNotMade(f"the file of requests was not taken: {problem}") from problem
        with mapped_errors(self._provider.secrets):
            made = client.batches.create(
                model=model,
                src=str(file.name),
                config=types.CreateBatchJobConfig(display_name=tag, http_options=options),
            )
            return ProviderBatch(
                batch_id=str(made.name),
                created_at=moment(made.create_time, _VENDOR),
                n_requests=len(lines),
                tag=made.display_name,
                outcome=None,
            )

    def listed(self, *, since: datetime, timeout_s: float) -> list[ProviderBatch]:
        """Everybody's batches under the same key that were created since, as the provider orders them."""
        found: dict[str, ProviderBatch] = {}
        token: str | None = None
        seen: set[str] = set()
        while True:
            query = urlencode({"pageSize": _PAGE, **({"pageToken": token} if token else {})})
            page, _ = self._get(f"batches?{query}", timeout_s)
            told = page.get("operations")
            batches = [_batch(each) for each in told if isinstance(each, dict)] if isinstance(told, list) else []
            found |= {batch.batch_id: batch for batch in batches if batch.created_at >= since}
            token = str(page["nextPageToken"]) if page.get("nextPageToken") else None
            # The order is not promised, so every page is read; one that comes again is the end.
            if token is None or token in seen:
                return list(found.values())
            seen.add(token)

    def cancel(self, batch_id: str, *, timeout_s: float) -> None:
        """Asks for its end."""
        from google.genai import types

        with mapped_errors(self._provider.secrets):
            self._provider.connected().batches.cancel(
                name=batch_id, config=types.CancelBatchJobConfig(http_options=_options(timeout_s))
            )

    def look(self, batch_id: str, *, timeout_s: float) -> ProviderBatch:
        """How the batch stands. Raises RequestRejected when the provider has none of this id."""
        return _batch(self._found(batch_id, timeout_s)[0])

    def download(self, batch_id: str, to: Path, *, timeout_s: float, most_bytes: int | None = None) -> bool | None:
        """Writes the results, a line per request, byte for byte; whether a stand-in sent them, None without any."""
        from google.genai import types

        operation, headers = self._found(batch_id, timeout_s)
        output = mapping_in(mapping_in(operation, "metadata"), "output") or mapping_in(operation, "response")
        name = output.get("responsesFile")
        inline = mapping_in(output, "inlinedResponses").get("inlinedResponses")
        if isinstance(inline, list):
            # What a batch of requests without a file is answered with.
            append_stream((line_of(_keyed(each)) + b"\n" for each in inline), to, most_bytes=most_bytes)
            return SANDBOX_HEADER in headers
        if not isinstance(name, str):
            return None
        with mapped_errors(self._provider.secrets), to.open("ab") as file, suppress(EnoughRead):
            self._provider.connected().files.download(
                file=name,
                destination=Bounded(file, most_bytes),
                config=types.DownloadFileConfig(http_options=_options(timeout_s)),
            )
        return SANDBOX_HEADER in headers

    def id_in(self, line: bytes) -> str:
        """The id of the request that a line of results is about. Raises ValueError for a line that cannot be read."""
        return request_id_in(line, "key")

    def response(self, line: str, request: ModelRequest, *, simulated: bool) -> ModelResponse:
        """The answer in a line of results, read as one to a call of its own."""
        told = object_in(line)
        error = error_in(told)
        if error is not None:
            code = error.get("code")
            if code in _CANCELLED_CODES:
                raise ProviderUnavailable(f"{_VENDOR}: the request was not carried out: {error.get('message')}")
            # Errors of single requests carry gRPC's numbers; those above 100 are HTTP's.
            status = status_behind(error if isinstance(code, int) and code >= 100 else {"status": _name_of(code)})
            raise refusal(status, body=told, headers={})
        return read_response(mapping_in(told, "response"), {}, simulated=simulated, has_tools=bool(request.tools))

    def _found(self, batch_id: str, timeout_s: float) -> tuple[dict[str, Any], Mapping[str, str]]:
        try:
            return self._get(batch_id, timeout_s)
        except ModelUnknown as problem:
            raise RequestRejected(f"{_VENDOR}: batch {batch_id} is not there: {problem}", status=404) from problem

    def _get(self, path: str, timeout_s: float) -> tuple[dict[str, Any], Mapping[str, str]]:
        # The SDK's own types leave out the counts and the reason of a failure.
        with mapped_errors(self._provider.secrets):
            answer = self._provider.connected()._api_client.request("get", path, {}, _options(timeout_s))
        try:
            headers = {name.lower(): value for name, value in (answer.headers or {}).items()}
            return object_in(answer.body or ""), headers
        except ValueError as problem:
            raise ProviderUnavailable(f"{_VENDOR}: the answer about batches cannot be read: {problem}") from problem


# google.rpc.Code, as far as an answer can carry them.
_CODES = {
    2: "INTERNAL",
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}


def _keyed(inlined: Any) -> dict[str, Any]:
    """An inline answer as a line of a file has it."""
    told = inlined if isinstance(inlined, dict) else {}
    key = next((value for value in mapping_in(told, "metadata").values() if isinstance(value, str)), "")
    return {"key": key, **{name: told[name] for name in ("response", "error") if name in told}}


def _name_of(code: object) -> str:
    return _CODES.get(code, "INTERNAL") if isinstance(code, int) else "INTERNAL"


def _options(timeout_s: float) -> Any:
    from google.genai import types

    return types.HttpOptions(timeout=max(round(timeout_s * 1000), 1))


def _batch(operation: Mapping[str, Any]) -> ProviderBatch:
    told = mapping_in(operation, "metadata")
    stats = mapping_in(told, "batchStats")
    # Sixty-four bit numbers are written as text.
    counts = {name: int(str(n)) for name, n in stats.items() if str(n).isdecimal()}
    state = str(told.get("state")).rpartition("_")[2]
    error = error_in(operation) or {}
    total = counts.get("requestCount")
    tag = told.get("displayName")
    return ProviderBatch(
        batch_id=str(operation.get("name")),
        created_at=moment(told.get("createTime"), _VENDOR),
        n_requests=total,
        tag=tag if isinstance(tag, str) else None,
        outcome=_OUTCOMES.get(state),
        n_done=None if total is None else total - counts.get("pendingRequestCount", 0),
        reason=" ".join(str(error["message"]).split()) if error.get("message") else None,
    )
