"""Google's endpoints for batches."""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.batch_answers import Unhurried, answered
from tokenopt_pipeline.sandbox.batch_door import BatchDoor
from tokenopt_pipeline.sandbox.batch_faults import Occasion
from tokenopt_pipeline.sandbox.batches import Batch, BatchItem, End, Outcome, OutcomeKind
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.google_door import GoogleDoor, key_of
from tokenopt_pipeline.sandbox.google_files import KEPT_S, page_of, rfc3339
from tokenopt_pipeline.sandbox.google_models import model_named
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact
from tokenopt_pipeline.sandbox.stored_files import StoredFile, size_of
from tokenopt_pipeline.sandbox.webhooks import check_url

# https://ai.google.dev/gemini-api/docs/batch-api, read 2026-11-22.
_MAX_INLINE_BYTES = 20 * 1024 * 1024
_WINDOWS = 2
_PAGE, _LARGEST_PAGE = 50, 1000
_RUNNING = 0.1
"""Share of a batch's time it is pending."""
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_STATES = {
    End.COMPLETED: "BATCH_STATE_SUCCEEDED",
    End.FAILED: "BATCH_STATE_FAILED",
    End.EXPIRED: "BATCH_STATE_EXPIRED",
    End.CANCELLED: "BATCH_STATE_CANCELLED",
}
_EVENTS = {End.COMPLETED: "batch.succeeded", End.FAILED: "batch.failed", End.EXPIRED: "batch.expired"}
# https://grpc.io/docs/guides/status-codes/.
_CODES = {
    "CANCELLED": 1,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
# Why nothing was kept; the words are ours.
_ENDS_BADLY: dict[End, tuple[str, str]] = {
    End.FAILED: ("INTERNAL", "The batch failed; none of its responses are available."),
    End.EXPIRED: ("DEADLINE_EXCEEDED", "The batch was not finished within 48 hours and has expired."),
    End.CANCELLED: ("CANCELLED", "The batch was cancelled."),
}


class _GoogleAnswers(Unhurried, GoogleDoor):
    """Answers items as calls are answered."""

    async def content(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        path = {"version": str(batch.tags["version"]), "model": str(batch.tags["model"])}
        return await answered(self._generate, item.body, self._new_request_id(), {"x-goog-api-key": batch.key}, path)


class GoogleBatchDoor(BatchDoor, GoogleDoor):
    """The handlers of one sandbox, and the party its batches belong to."""

    provider = "google"
    keeps = frozenset({End.COMPLETED})
    ordered = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._answers = _GoogleAnswers(engine)

    def routes(self) -> list[Route]:
        """The paths of batches; they go before those of content, which end in a catch-all."""
        one = "/{version}/batches/{batch_id}"
        create = "/{version}/models/{model}:batchGenerateContent"
        return [
            Route(create, self._answering(self._create), methods=["POST"]),
            Route("/{version}/batches", self._answering(self._list), methods=["GET"]),
            Route(f"{one}:cancel", self._answering(self._cancel), methods=["POST"]),
            Route(one, self._answering(self._show), methods=["GET"]),
            Route(one, self._answering(self._delete), methods=["DELETE"]),
            Route("/.well-known/jwks.json", self._answering(self._keys), methods=["GET"]),
        ]

    async def _keys(self, http: Request, request_id: str) -> Response:
        return json_response(self._runner.webhooks.seal.public_keys(), 200)

    async def _create(self, http: Request, request_id: str) -> Response:
        key = key_of(http)
        self._admit()
        version, name = http.path_params["version"], http.path_params["model"]
        model = model_named(name, version)
        if model is None:
            raise errors.model_unknown(name, version, "batchGenerateContent")
        body = await self._large_body(http, _MAX_INLINE_BYTES)
        asked = _read_create(body)
        source = _of(asked, "inputConfig", "input_config")
        file_name = _of(as_object(source), "fileName", "file_name")
        items = self._file_items(str(file_name), key) if file_name else _inline_items(as_object(source))
        if sum(not batch.settled for batch in self._runner.book.of(self.provider, key)) >= self._active_limit:
            raise errors.rate_limited(60)
        config = _of(asked, "webhookConfig", "webhook_config")
        _check_urls(as_object(config))
        tags: JsonObject = {
            "displayName": str(_of(asked, "displayName", "display_name") or ""),
            "model": model.id,
            "version": version,
            "fileName": file_name,
            "webhookConfig": config,
        }

        def accept() -> Response:
            batch = self._runner.open(
                self,
                identifier=self._engine.identifier("batches/"),
                key=key,
                items=items,
                tags=tags,
                windows=_WINDOWS,
            )
            return json_response(self._shown(batch, ended=False), 200)

        return self._accepting(Occasion.CREATE, body, str(tags["displayName"]), accept)

    async def _list(self, http: Request, request_id: str) -> Response:
        found = self._listed(self.provider, key_of(http))
        shown = [self._shown(batch, ended=await self._runner.ended(batch)) for batch in found]
        return json_response(page_of(http, "operations", shown, _PAGE, _LARGEST_PAGE), 200)

    async def _show(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        return json_response(self._shown(batch, ended=await self._runner.ended(batch, looked_at=True)), 200)

    async def _cancel(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if await self._runner.ended(batch):
            raise errors.finished(batch.id)
        if batch.cancel_s is None:
            self._runner.cancel(batch)
        return json_response({}, 200)

    async def _delete(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if not await self._runner.ended(batch) and batch.cancel_s is None:
            self._runner.cancel(batch)
        batch.deleted = True
        return json_response({}, 200)

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        return await self._answers.content(batch, item)

    def failed(self) -> Outcome:
        """An error of the provider's own."""
        refusal = errors.failure(Fault.SERVER_ERROR_500)
        return Outcome(kind=OutcomeKind.ERRORED, status=500, body={} if refusal is None else refusal.body(""))

    def line(self, batch: Batch, item: BatchItem, outcome: Outcome) -> bytes:
        """The item's response, with its key in a file or its metadata inline."""
        error = as_object(outcome.body.get("error"))
        code = _CODES.get(str(error.get("status")), 2)
        said: JsonObject = {"response": outcome.body}
        if outcome.kind is not OutcomeKind.SUCCEEDED:
            said = {"error": {"code": code, "message": error.get("message")}}
        if batch.tags["fileName"]:
            return compact({"key": item.custom_id, **said}).encode("utf-8", "replace")
        named: JsonObject = {} if item.metadata is None else {"metadata": item.metadata}
        return compact({**said, **named}).encode("utf-8", "replace")

    def close(self, batch: Batch) -> None:
        """Make the result file, where requests came in one."""
        if batch.end is not End.COMPLETED or not batch.tags["fileName"]:
            return
        lines = tuple(line for _, line in batch.results)
        stored = StoredFile(
            provider=self.provider,
            id=self._engine.identifier("files/batch-"),
            key=batch.key,
            lines=lines,
            size=size_of(lines),
            created_s=batch.ends_s,
            expires_s=batch.ends_s + KEPT_S,
            batch_id=batch.id,
            shown={"mimeType": "application/jsonl"},
        )
        self._runner.files.add(stored)
        batch.results = []
        batch.outputs["responsesFile"] = stored.id

    def event(self, batch: Batch) -> tuple[str, JsonObject] | None:
        """The webhook's type and body, of which public examples show so much; a cancelled batch has none."""
        kind = _EVENTS.get(batch.end)
        if kind is None:
            return None
        told: JsonObject = {"id": batch.id}
        if "responsesFile" in batch.outputs:
            told["output_file_uri"] = batch.outputs["responsesFile"]
        if batch.end is not End.COMPLETED:
            told["error_code"], told["error_message"] = _ENDS_BADLY[batch.end]
        metadata = _of(as_object(batch.tags["webhookConfig"]), "userMetadata", "user_metadata")
        if metadata is not None:
            told["user_metadata"] = metadata
        return kind, {"type": kind, "version": "v1", "timestamp": rfc3339(batch.ends_s), "data": told}

    @property
    def _active_limit(self) -> int:
        return self._runner.settings.max_active

    def _found(self, http: Request) -> Batch:
        name, key = f"batches/{http.path_params['batch_id']}", key_of(http)
        batch = self._runner.book.find(self.provider, name, key)
        if batch is None:
            raise errors.batch_unknown(name)
        return batch

    def _file_items(self, name: str, key: str) -> list[BatchItem]:
        stored = self._runner.files.find(self.provider, name, key, self._engine.clock())
        if stored is None:
            raise errors.file_unknown(name)
        if not any(line.strip() for line in stored.lines):
            raise errors.invalid("The input file is empty.")
        return [_line_item(number, line) for number, line in enumerate(stored.lines) if line.strip()]

    def _shown(self, batch: Batch, *, ended: bool) -> JsonObject:
        """The operation."""
        now_s = self._engine.clock()
        state = _STATES[batch.end] if ended else _running_state(batch, now_s)
        metadata: JsonObject = {
            "@type": _TYPE,
            "model": f"models/{batch.tags['model']}",
            "displayName": batch.tags["displayName"],
            "createTime": rfc3339(batch.created_s),
            "updateTime": rfc3339(batch.ends_s if ended else now_s),
            "batchStats": _stats(batch, now_s, ended=ended),
            "state": state,
            "name": batch.id,
        }
        if not ended:
            return {"name": batch.id, "metadata": metadata}
        metadata["endTime"] = rfc3339(batch.ends_s)
        operation: JsonObject = {"name": batch.id, "metadata": metadata, "done": True}
        if batch.end is not End.COMPLETED:
            status, message = _ENDS_BADLY[batch.end]
            return {**operation, "error": {"code": _CODES[status], "message": message}}
        output: JsonObject = {"responsesFile": batch.outputs.get("responsesFile")}
        if not batch.tags["fileName"]:
            responses: list[Json] = [json.loads(line) for _, line in batch.results]
            output = {"inlinedResponses": {"inlinedResponses": responses}}
        metadata["output"] = output
        return {**operation, "response": {"@type": f"{_TYPE}Output", **output}}


def _running_state(batch: Batch, now_s: float) -> str:
    pending_s = batch.created_s + _RUNNING * (batch.finish_s - batch.created_s)
    return "BATCH_STATE_PENDING" if now_s < pending_s else "BATCH_STATE_RUNNING"


def _stats(batch: Batch, now_s: float, *, ended: bool) -> JsonObject:
    """Counts as texts, zeros left out, as the recorded exchange has them."""
    done = batch.progress(now_s)
    counts = {
        "requestCount": len(batch.items),
        "pendingRequestCount": 0 if ended else len(batch.items) - done,
        "successfulRequestCount": batch.counts[OutcomeKind.SUCCEEDED] if ended else done,
        "failedRequestCount": batch.counts[OutcomeKind.ERRORED] if ended else 0,
    }
    return {name: str(count) for name, count in counts.items() if count}


def _read_create(body: bytes) -> JsonObject:
    """The batch asked for. Raises GoogleRefused."""
    try:
        fields: Json = json.loads(body)
    except ValueError as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    asked = as_object(as_object(fields).get("batch"))
    if not asked:
        raise errors.invalid("* BatchGenerateContentRequest.batch: batch is not specified\n")
    return asked


def _check_urls(config: JsonObject) -> None:
    for url in as_list(config.get("uris")):
        try:
            check_url(str(url))
        except ConfigRefused as refusal:
            raise errors.invalid(str(refusal)) from None


def _of(fields: JsonObject, name: str, other: str) -> Json:
    """A field by either of its names; what callers name themselves, such as metadata, must keep its names."""
    return fields.get(name, fields.get(other))


def _inline_items(source: JsonObject) -> list[BatchItem]:
    requests: Sequence[Json] = as_list(as_object(source.get("requests")).get("requests"))
    if not requests:
        raise errors.invalid("* BatchGenerateContentRequest.batch.input_config: no requests are specified\n")
    items = []
    for number, request in enumerate(requests):
        metadata = as_object(request).get("metadata")
        body = compact(as_object(request).get("request")).encode("utf-8", "surrogatepass")
        name = compact(metadata) if metadata else str(number)
        items.append(BatchItem(custom_id=name, body=body, metadata=metadata))
    return items


def _line_item(number: int, line: bytes) -> BatchItem:
    """A line that cannot be read is an item that cannot be answered."""
    try:
        value: Json = json.loads(line)
    except ValueError:
        return BatchItem(custom_id=str(number), body=line)
    fields = as_object(value)
    body = compact(fields.get("request")).encode("utf-8", "surrogatepass")
    return BatchItem(custom_id=str(fields.get("key", number)), body=body)
