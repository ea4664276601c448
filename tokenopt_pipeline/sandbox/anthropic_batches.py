"""Anthropic's endpoints for Message Batches."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import anthropic_errors as errors
from tokenopt_pipeline.sandbox.anthropic import AnthropicDoor
from tokenopt_pipeline.sandbox.anthropic_rules import check_version
from tokenopt_pipeline.sandbox.batch_answers import Unhurried, answered
from tokenopt_pipeline.sandbox.batch_door import BatchDoor
from tokenopt_pipeline.sandbox.batch_faults import Occasion
from tokenopt_pipeline.sandbox.batch_results import download
from tokenopt_pipeline.sandbox.batches import Batch, BatchItem, End, Outcome, OutcomeKind
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.engine import Engine
from tokenopt_pipeline.sandbox.faults import Fault
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object, compact
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse

# https://platform.claude.com/docs/en/build-with-claude/batch-processing, read 2026-11-22.
_MAX_REQUESTS = 100_000
_MAX_BYTES = 256 * 1024 * 1024
_KEPT_S = 29 * 24 * 3600
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PAGE, _LARGEST_PAGE = 20, 1000


class _AnthropicAnswers(Unhurried, AnthropicDoor):
    """Answers items as calls are answered, but side by side: what one writes into the cache is read by later batches.

    Best effort, says the guide, 30 to 98 % of requests; of a batch that met a cold cache, public reports know 0 of 138
    (bike4mind, issue 2741, read 2026-11).
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._written: list[CacheUse] = []

    async def _begin_response(self, fault: Fault | None, use: CacheUse) -> None:
        self._written.append(use)

    def end_batch(self) -> None:
        """What was written is found from now on."""
        for use in self._written:
            self._engine.cache.begin_response(use)
        self._written.clear()

    async def message(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        params = as_object(json.loads(item.body))
        request_id = self._new_request_id()
        for name in ("stream", "speed"):
            if params.get(name):
                return _errored(errors.invalid(f"{name}: not supported in message batches"), request_id)
        if params.get("max_tokens") == 0:
            return _errored(errors.invalid("max_tokens: must be at least 1 in message batches"), request_id)
        headers = {"x-api-key": batch.key, "anthropic-version": str(batch.tags["version"])}
        outcome = await answered(self._create_message, item.body, request_id, headers, {})
        if outcome.kind is OutcomeKind.SUCCEEDED:
            as_object(outcome.body["usage"])["service_tier"] = "batch"
        return outcome


class AnthropicBatchDoor(BatchDoor, AnthropicDoor):
    """The handlers of one sandbox, and the party its batches belong to."""

    provider = "anthropic"
    keeps = frozenset(End)
    ordered = False

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._answers = _AnthropicAnswers(engine)

    def routes(self) -> list[Route]:
        """The paths of batches; they go before those of messages, which end in a catch-all."""
        batches = "/v1/messages/batches"
        one = f"{batches}/{{batch_id}}"
        return [
            Route(batches, self._answering(self._create), methods=["POST"]),
            Route(batches, self._answering(self._list), methods=["GET"]),
            Route(one, self._answering(self._retrieve), methods=["GET"]),
            Route(one, self._answering(self._delete), methods=["DELETE"]),
            Route(f"{one}/cancel", self._answering(self._cancel), methods=["POST"]),
            Route(f"{one}/results", self._answering(self._results), methods=["GET"]),
        ]

    async def _create(self, http: Request, request_id: str) -> Response:
        key = self._caller(http)
        self._admit()
        body = await self._large_body(http, _MAX_BYTES)
        items = _read_items(body, self._runner.settings.max_requests or _MAX_REQUESTS)
        version = http.headers["anthropic-version"]

        def accept() -> Response:
            batch = self._runner.open(
                self, identifier=self._engine.identifier("msgbatch_01"), key=key, items=items, tags={"version": version}
            )
            return json_response(self._shown(batch, http, ended=False), 200)

        return self._accepting(Occasion.CREATE, body, items[0].custom_id, accept)

    async def _list(self, http: Request, request_id: str) -> Response:
        key = self._caller(http)
        limit = http.query_params.get("limit", str(_PAGE))
        if not limit.isdigit() or not 1 <= int(limit) <= _LARGEST_PAGE:
            raise errors.invalid(f"limit: Input should be between 1 and {_LARGEST_PAGE}")
        after, before = http.query_params.get("after_id"), http.query_params.get("before_id")
        if after is not None and before is not None:
            raise errors.invalid("after_id and before_id cannot be used together")
        found = self._listed(self.provider, key)
        ids = [batch.id for batch in found]
        for cursor in (after, before):
            if cursor is not None and cursor not in ids:
                raise errors.invalid(f"no message batch {cursor}")
        if before is not None:
            end = ids.index(before)
            start = max(0, end - int(limit))
            page, more = found[start:end], start > 0
        else:
            start = 0 if after is None else ids.index(after) + 1
            page, more = found[start : start + int(limit)], start + int(limit) < len(found)
        shown: list[Json] = [self._shown(batch, http, ended=await self._runner.ended(batch)) for batch in page]
        return json_response(
            {
                "data": shown,
                "has_more": more,
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            },
            200,
        )

    async def _retrieve(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        ended = await self._runner.ended(batch, looked_at=True)
        return json_response(self._shown(batch, http, ended=ended), 200)

    async def _cancel(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if await self._runner.ended(batch):
            raise errors.invalid(f"Message batch {batch.id} has ended and cannot be canceled.")
        if batch.cancel_s is None:
            self._runner.cancel(batch)
        return json_response(self._shown(batch, http, ended=False), 200)

    async def _delete(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if not await self._runner.ended(batch):
            raise errors.invalid(f"Message batch {batch.id} is still processing; cancel it before deleting it.")
        batch.deleted = True
        return json_response({"id": batch.id, "type": "message_batch_deleted"}, 200)

    async def _results(self, http: Request, request_id: str) -> Response:
        batch = self._found(http)
        if not await self._runner.ended(batch) or self._archived(batch):
            raise errors.invalid(f"Message batch {batch.id} has no available results.")
        fault = self._runner.decide(Occasion.RESULTS, batch.id.encode(), batch.id)
        lines = [line for _, line in batch.results]
        return download(lines, fault, media_type="application/x-jsonl", huge_bytes=self._runner.plan.huge_bytes)

    async def answer(self, batch: Batch, item: BatchItem) -> Outcome:
        """What a model says to `item`."""
        return await self._answers.message(batch, item)

    def failed(self) -> Outcome:
        """An error of the provider's own."""
        return _errored(errors.server_error(), self._new_request_id())

    def line(self, batch: Batch, item: BatchItem, outcome: Outcome) -> bytes:
        """The item's line of results."""
        result: JsonObject = {"type": outcome.kind.value}
        if outcome.kind is OutcomeKind.SUCCEEDED:
            result["message"] = outcome.body
        elif outcome.kind is OutcomeKind.ERRORED:
            result["error"] = outcome.body
        return compact({"custom_id": item.custom_id, "result": result}).encode("utf-8", "replace")

    def close(self, batch: Batch) -> None:
        """Results are streamed from the batch itself."""
        self._answers.end_batch()

    def event(self, batch: Batch) -> None:
        """Of its webhooks none is about message batches."""

    def _caller(self, http: Request) -> str:
        check_version(http.headers.get("anthropic-version"))
        return super()._caller(http)

    def _found(self, http: Request) -> Batch:
        batch_id = http.path_params["batch_id"]
        batch = self._runner.book.find(self.provider, batch_id, self._caller(http))
        if batch is None:
            raise errors.batch_unknown(batch_id)
        return batch

    def _archived(self, batch: Batch) -> bool:
        return self._engine.clock() >= batch.created_s + _KEPT_S

    def _shown(self, batch: Batch, http: Request, *, ended: bool) -> JsonObject:
        counts: JsonObject = {"processing": 0 if ended else len(batch.items)}
        for kind in OutcomeKind:
            counts[kind.value] = batch.counts[kind] if ended else 0
        status = "ended" if ended else "in_progress" if batch.cancel_s is None else "canceling"
        archived = ended and self._archived(batch)
        mount = f"{http.url.scheme}://{http.url.netloc}{http.scope.get('root_path', '')}"
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "ended_at": _rfc3339(batch.ends_s) if ended else None,
            "created_at": _rfc3339(batch.created_s),
            "expires_at": _rfc3339(batch.expires_s),
            "archived_at": _rfc3339(batch.created_s + _KEPT_S) if archived else None,
            "cancel_initiated_at": None if batch.cancel_s is None else _rfc3339(batch.cancel_s),
            "results_url": f"{mount}/v1/messages/batches/{batch.id}/results" if ended and not archived else None,
        }


def _read_items(body: bytes, limit: int) -> list[BatchItem]:
    """The requests in `body`; what is inside `params` is looked at when they are answered. Raises RequestRefused."""
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise errors.invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise errors.invalid("Input should be a valid dictionary or object to extract fields from")
    for name in fields:
        if name != "requests":
            raise errors.invalid(f"{name}: Extra inputs are not permitted")
    requests = fields.get("requests")
    if not isinstance(requests, list) or not requests:
        raise errors.invalid("requests: List should have at least 1 item after validation, not 0")
    if len(requests) > limit:
        raise errors.invalid(f"requests: List should have at most {limit} items after validation, not {len(requests)}")
    items: dict[str, BatchItem] = {}
    for index, request in enumerate(requests):
        where = f"requests.{index}"
        custom_id, params = as_object(request).get("custom_id"), as_object(request).get("params")
        if not isinstance(custom_id, str) or _CUSTOM_ID.fullmatch(custom_id) is None:
            raise errors.invalid(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if not isinstance(params, dict):
            raise errors.invalid(f"{where}.params: Field required")
        if custom_id in items:
            raise errors.invalid(f"{where}.custom_id: Duplicate custom_id '{custom_id}'")
        items[custom_id] = BatchItem(custom_id=custom_id, body=compact(params).encode("utf-8", "surrogatepass"))
    return list(items.values())


def _errored(refusal: errors.RequestRefused, request_id: str) -> Outcome:
    return Outcome(kind=OutcomeKind.ERRORED, status=refusal.status, body=refusal.body(request_id))


def _rfc3339(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="microseconds")
