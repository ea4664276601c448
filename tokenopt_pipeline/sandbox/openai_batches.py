"""OpenAI's endpoints for batches."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.batch_answers import Unhurried, answered
from tokenopt_pipeline.sandbox.batch_door import BatchDoor
from tokenopt_pipeline.sandbox.batch_faults import BatchFault, Occasion
from tokenopt_pipeline.sandbox.batches import Batch, BatchItem, End, Outcome, OutcomeKind
from tokenopt_pipeline.sandbox.chat_config import CustomServer
from tokenopt_pipeline.sandbox.chat_door import ChatDoor
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object, compact
from tokenopt_pipeline.sandbox.openai_batch_request import CHAT, MAX_REQUESTS, RESPONSES, read_create, read_lines
from tokenopt_pipeline.sandbox.openai_door import OpenAIDoor
from tokenopt_pipeline.sandbox.openai_files import KEPT_S, page_of
from tokenopt_pipeline.sandbox.openai_models import BY_NAME
from tokenopt_pipeline.sandbox.stored_files import StoredFile, size_of

_PAGE, _LARGEST_PAGE = 20, 100
# Shares of a batch's time; recorded ones were validated within a second or two, and ended as soon after the last answer.
_VALIDATED, _FINALIZING = 0.1, 0.9
_LATE_WORDS = {
    OutcomeKind.EXPIRED: ("batch_expired", "This request could not be executed before the completion window expired."),
    OutcomeKind.CANCELED: ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


class _ResponsesAnswers(Unhurried, OpenAIDoor):
    """Answers items of `/v1/responses` as calls are answered."""

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        headers = {"authorization": f"Bearer {batch.key}"}
        return await answered(self._create_response, item.body, self._new_request_id(), headers, {})


class _ChatAnswers(Unhurried, ChatDoor):
    """Answers items of `/v1/chat/completions` as the compatible server does, with OpenAI's models."""

    @property
    def _server(self) -> CustomServer:
        return CustomServer(models=tuple(BY_NAME), context_tokens=1_050_000)

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        return await answered(self._complete, item.body, self._new_request_id(), {}, {})


class OpenAIBatchDoor(BatchDoor, OpenAIDoor):
    """The handlers of one sandbox, and the party its batches belong to."""

    provider = "openai"
    keeps = frozenset({End.COMPLETED, End.EXPIRED, End.CANCELLED})
    ordered = False

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._answers: dict[str, _ResponsesAnswers | _ChatAnswers] = {
            RESPONSES: _ResponsesAnswers(engine),
            CHAT: _ChatAnswers(engine),
        }

    def routes(self) -> list[Route]:
        """The paths of batches; they go before those of responses, which end in a catch-all."""
        one = "/v1/batches/{batch_id}"
        return [
            Route("/v1/batches", self._answering(self._create), methods=["POST"]),
            Route("/v1/batches", self._answering(self._list), methods=["GET"]),
            Route(one, self._answering(self._retrieve), methods=["GET"]),
            Route(f"{one}/cancel", self._answering(self._cancel), methods=["POST"]),
        ]

    async def _create(self, http: Request, request_id: str) -> Response:
        key = self._caller(http)
        self._admit()
        body = await self._body(http)
        tags = read_create(body)
        stored = self._runner.files.find("openai", str(tags["input_file_id"]), key, self._engine.clock())
        if stored is None:
            raise errors.invalid(f"No file found with id '{tags['input_file_id']}'.", param="input_file_id")
        if stored.shown["purpose"] != "batch":
            raise errors.invalid("The input file must have the purpose 'batch'.", param="input_file_id")
        file = read_lines(stored.lines, str(tags["endpoint"]), self._runner.settings.max_requests or MAX_REQUESTS)

        def accept() -> Response:
            batch = self._runner.open(
                self,
                identifier=self._engine.identifier("batch_"),
                key=key,
                items=[] if file.errors else file.items,
                tags={**tags, "model": file.model},
            )
            if file.errors:
                self._runner.fail(batch, _at(batch, _VALIDATED), file.errors)
            elif batch.fault is BatchFault.BATCH_FAILED:
                self._runner.fail(batch, _at(batch, _VALIDATED), [_queue_full(str(file.model))])
            return json_response(self._shown(batch, ended=False), 200)

        return self._accepting(Occasion.CREATE, body, compact(tags.get("metadata")), accept)

    async def _list(self, http: Request, request_id: str) -> Response:
        found = self._listed(self.provider, self._caller(http))
        shown = [self._shown(batch, ended=await self._runner.ended(batch)) for batch in found]
        return json_response(page_of(http, shown, _PAGE, _LARGEST_PAGE), 200)

    async def _retrieve(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        return json_response(self._shown(batch, ended=await self._runner.ended(batch, looked_at=True)), 200)

    async def _cancel(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if await self._runner.ended(batch):
            raise errors.invalid(f"Cannot cancel a batch with status '{batch.end.value}'.")
        if batch.cancel_s is None and batch.end is not End.FAILED:
            self._runner.cancel(batch)
        return json_response(self._shown(batch, ended=False), 200)

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        if as_object(json.loads(item.body)).get("stream"):
            refusal = errors.invalid("Streaming is not supported in batches.", param="stream")
            return Outcome(kind=OutcomeKind.ERRORED, status=refusal.status, body=refusal.body(""))
        outcome = await self._answers[str(batch.tags["endpoint"])].answer(batch, item)
        if outcome.kind is OutcomeKind.SUCCEEDED:
            batch.outputs["usage"] = _added(as_object(batch.outputs.get("usage")), as_object(outcome.body["usage"]))
        return outcome

    def failed(self) -> Outcome:
        """An error of the provider's own."""
        refusal = errors.failure(Fault.SERVER_ERROR_500)
        body = {} if refusal is None else refusal.body("")
        return Outcome(kind=OutcomeKind.ERRORED, status=500, body=body)

    def line(self, batch: Batch, item: BatchItem, outcome: Outcome) -> bytes:
        """The item's line in the output file, or in the error file."""
        response: Json = {"status_code": outcome.status, "request_id": self._new_request_id(), "body": outcome.body}
        error: Json = None
        if outcome.kind in _LATE_WORDS:
            code, message = _LATE_WORDS[outcome.kind]
            response, error = None, {"code": code, "message": message}
        identifier = self._engine.identifier("batch_req_")
        line = {"id": identifier, "custom_id": item.custom_id, "response": response, "error": error}
        return compact(line).encode("utf-8", "replace")

    def close(self, batch: Batch) -> None:
        """Make the output file and the error file, each where it has a line."""
        if batch.cancel_s is not None and batch.cancel_s < _at(batch, _VALIDATED):
            batch.results = []
        files = {
            "output_file_id": [line for kind, line in batch.results if kind is OutcomeKind.SUCCEEDED],
            "error_file_id": [line for kind, line in batch.results if kind is not OutcomeKind.SUCCEEDED],
        }
        batch.results = []
        for name, lines in files.items():
            if lines:
                batch.outputs[name] = self._file(batch, name.removesuffix("_file_id"), tuple(lines))

    def event(self, batch: Batch) -> tuple[str, JsonObject]:
        """The webhook's type and body."""
        kind = f"batch.{batch.end.value}"
        return kind, {
            "id": self._engine.identifier("evt_"),
            "object": "event",
            "created_at": int(batch.ends_s),
            "type": kind,
            "data": {"id": batch.id},
        }

    def _file(self, batch: Batch, name: str, lines: tuple[bytes, ...]) -> str:
        after = as_object(batch.tags["output_expires_after"]).get("seconds", KEPT_S)
        stored = StoredFile(
            provider="openai",
            id=self._engine.identifier("file-"),
            key=batch.key,
            lines=lines,
            size=size_of(lines),
            created_s=batch.ends_s,
            expires_s=batch.ends_s + (after if isinstance(after, int) else KEPT_S),
            batch_id=batch.id,
            shown={"filename": f"{batch.id}_{name}.jsonl", "purpose": "batch_output"},
        )
        self._runner.files.add(stored)
        return stored.id

    def _found(self, http: Request) -> Batch:
        batch_id, key = http.path_params["batch_id"], self._caller(http)
        batch = self._runner.book.find(self.provider, batch_id, key)
        if batch is None:
            raise errors.batch_unknown(batch_id)
        return batch

    def _shown(self, batch: Batch, *, ended: bool) -> JsonObject:
        now_s = self._engine.clock()
        moments = _moments(batch, now_s, ended=ended)
        started = moments["in_progress_at"] is not None
        done = batch.counts[OutcomeKind.SUCCEEDED] if ended else batch.progress(now_s) if started else 0
        counts: JsonObject = {
            "total": len(batch.items) if started else 0,
            "completed": done if started else 0,
            "failed": batch.counts[OutcomeKind.ERRORED] if ended and started else 0,
        }
        failed = ended and bool(batch.errors)
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.tags["endpoint"],
            "model": batch.tags["model"] if started else None,
            "errors": {"object": "list", "data": batch.errors} if failed else None,
            "input_file_id": batch.tags["input_file_id"],
            "completion_window": batch.tags["completion_window"],
            "status": _status(batch, moments, ended=ended),
            "output_file_id": batch.outputs.get("output_file_id") if ended else None,
            "error_file_id": batch.outputs.get("error_file_id") if ended else None,
            "created_at": int(batch.created_s),
            "expires_at": int(batch.expires_s),
            **moments,
            "request_counts": counts,
            "usage": as_object(batch.outputs.get("usage")) if ended and batch.outputs.get("usage") else _added({}, {}),
            "metadata": batch.tags["metadata"],
        }


def _at(batch: Batch, share: float) -> float:
    return batch.created_s + share * (batch.finish_s - batch.created_s)


def _moments(batch: Batch, now_s: float, *, ended: bool) -> JsonObject:
    """When the batch went from one status to the next, as far as it has."""
    until_s = now_s if batch.cancel_s is None else batch.cancel_s
    validated_s, finalizing_s = _at(batch, _VALIDATED), _at(batch, _FINALIZING)
    runs = batch.end is not End.FAILED and until_s >= validated_s
    finalizes = batch.end is End.COMPLETED and until_s >= finalizing_s
    ends = {f"{end.value}_at": int(batch.ends_s) if ended and batch.end is end else None for end in End}
    return {
        "in_progress_at": int(validated_s) if runs else None,
        "finalizing_at": int(finalizing_s) if finalizes else None,
        "cancelling_at": None if batch.cancel_s is None else int(batch.cancel_s),
        **ends,
    }


def _status(batch: Batch, moments: JsonObject, *, ended: bool) -> str:
    if ended:
        return batch.end.value
    if batch.cancel_s is not None:
        return "cancelling"
    if moments["finalizing_at"] is not None:
        return "finalizing"
    return "validating" if moments["in_progress_at"] is None else "in_progress"


def _queue_full(model: str) -> JsonObject:
    """The words of a recorded failure; https://github.com/openai/openai-python/issues/2084."""
    return {
        "code": "token_limit_exceeded",
        "line": None,
        "message": f"Enqueued token limit reached for {model} in organization org-sandbox. Limit: 2,000,000 enqueued tokens."
        " Please try again once some in_progress batches have been completed.",
        "param": None,
    }


def _added(total: JsonObject, usage: JsonObject) -> JsonObject:
    """`total` with one answer's usage, in the words of either endpoint."""
    details = as_object(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"))
    thoughts = as_object(usage.get("output_tokens_details") or usage.get("completion_tokens_details"))
    cached = _whole(as_object(total.get("input_tokens_details")).get("cached_tokens")) + _whole(
        details.get("cached_tokens")
    )
    reasoning = _whole(as_object(total.get("output_tokens_details")).get("reasoning_tokens")) + _whole(
        thoughts.get("reasoning_tokens")
    )
    read = _whole(total.get("input_tokens")) + _whole(usage.get("input_tokens") or usage.get("prompt_tokens"))
    said = _whole(total.get("output_tokens")) + _whole(usage.get("output_tokens") or usage.get("completion_tokens"))
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": read + said,
    }


def _whole(value: Json) -> int:
    return value if isinstance(value, int) else 0
