"""OpenAI's endpoints for files."""

from __future__ import annotations

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from tokenopt_pipeline.sandbox import openai_errors as errors
from tokenopt_pipeline.sandbox.batch_door import BatchDoor
from tokenopt_pipeline.sandbox.batch_faults import Occasion
from tokenopt_pipeline.sandbox.batch_results import download
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.openai_batch_request import LONGEST_KEPT_S, SHORTEST_KEPT_S
from tokenopt_pipeline.sandbox.openai_door import OpenAIDoor
from tokenopt_pipeline.sandbox.stored_files import StoredFile, lines_of

# https://developers.openai.com/api/docs/guides/batch and the SDK's file types, read 2026-11-22.
_MAX_BYTES = 512 * 1024 * 1024
KEPT_S = 30 * 24 * 3600
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_LARGEST_PAGE = 10_000


class OpenAIFileDoor(BatchDoor, OpenAIDoor):
    """The handlers of one sandbox."""

    def routes(self) -> list[Route]:
        """The paths of files; they go before those of responses, which end in a catch-all."""
        one = "/v1/files/{file_id}"
        return [
            Route("/v1/files", self._answering(self._upload), methods=["POST"]),
            Route("/v1/files", self._answering(self._list), methods=["GET"]),
            Route(one, self._answering(self._show), methods=["GET"]),
            Route(one, self._answering(self._delete), methods=["DELETE"]),
            Route(f"{one}/content", self._answering(self._content), methods=["GET"]),
        ]

    async def _upload(self, http: Request, request_id: str) -> Response:
        key = self._caller(http)
        self._admit()
        body = await self._large_body(http, _MAX_BYTES)
        name, content, fields = await _form(http, body)
        purpose = fields.get("purpose")
        if purpose is None:
            raise errors.missing("purpose")
        if purpose not in _PURPOSES:
            raise errors.not_among("purpose", purpose, _PURPOSES)
        kept_s = _kept_s(fields, KEPT_S if purpose == "batch" else None)
        now_s = self._engine.clock()

        def accept() -> Response:
            stored = StoredFile(
                provider="openai",
                id=self._engine.identifier("file-"),
                key=key,
                lines=lines_of(content),
                size=len(content),
                created_s=now_s,
                expires_s=float("inf") if kept_s is None else now_s + kept_s,
                shown={"filename": name, "purpose": purpose},
            )
            self._runner.files.add(stored)
            return json_response(_shown(stored), 200)

        return self._accepting(Occasion.UPLOAD, content, name, accept)

    async def _list(self, http: Request, request_id: str) -> Response:
        key = self._caller(http)
        purpose = http.query_params.get("purpose")
        found = self._runner.files.of("openai", key, self._engine.clock())
        if http.query_params.get("order", "desc") == "asc":
            found = found[::-1]
        found = [stored for stored in found if purpose in (None, stored.shown["purpose"])]
        return json_response(page_of(http, [_shown(stored) for stored in found], _LARGEST_PAGE, _LARGEST_PAGE), 200)

    async def _show(self, http: Request, request_id: str) -> Response:
        return json_response(_shown(self._found(http)), 200)

    async def _delete(self, http: Request, request_id: str) -> Response:
        stored = self._found(http)
        self._runner.files.remove(stored)
        return json_response({"id": stored.id, "object": "file", "deleted": True}, 200)

    async def _content(self, http: Request, request_id: str) -> Response:
        stored = self._found(http)
        made = stored.batch_id is not None
        fault = self._runner.decide(Occasion.RESULTS, stored.id.encode(), f"{stored.batch_id}") if made else None
        return download(
            stored.lines, fault, media_type="application/octet-stream", huge_bytes=self._runner.plan.huge_bytes
        )

    def _found(self, http: Request) -> StoredFile:
        file_id, key = http.path_params["file_id"], self._caller(http)
        stored = self._runner.files.find("openai", file_id, key, self._engine.clock())
        if stored is None:
            raise errors.file_unknown(file_id)
        return stored


def page_of(http: Request, found: list[JsonObject], default: int, largest: int) -> JsonObject:
    """A page of `found` as `limit` and `after` ask for it. Raises OpenAIRefused."""
    limit, after = http.query_params.get("limit", str(default)), http.query_params.get("after")
    if not limit.isdigit() or not 1 <= int(limit) <= largest:
        raise errors.invalid(f"Invalid 'limit': expected a value from 1 to {largest}.", param="limit")
    ids = [str(each["id"]) for each in found]
    if after is not None and after not in ids:
        raise errors.invalid(f"No object found with id '{after}'.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    page = found[start : start + int(limit)]
    return {
        "object": "list",
        "data": list(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + len(page) < len(found),
    }


async def _form(http: Request, body: bytes) -> tuple[str, bytes, dict[str, str]]:
    """The file's name, its content, and the other fields. Raises OpenAIRefused."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    # Without the application in its scope a form that cannot be read is our refusal, not the framework's.
    scope = {name: value for name, value in http.scope.items() if name != "app"}
    try:
        form = await Request(scope, receive).form()
    except MultiPartException as error:
        raise errors.invalid(f"Could not parse multipart form: {error.message}") from None
    uploaded = form.get("file")
    if not isinstance(uploaded, UploadFile):
        raise errors.missing("file")
    content = await uploaded.read()
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    name = uploaded.filename or "upload"
    await form.close()
    return name, content, fields


def _kept_s(fields: dict[str, str], default_s: int | None) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return default_s
    if anchor != "created_at" or seconds is None or not seconds.isdigit():
        raise errors.invalid("expires_after needs the anchor 'created_at' and seconds.", param="expires_after")
    if not SHORTEST_KEPT_S <= int(seconds) <= LONGEST_KEPT_S:
        raise errors.invalid(
            f"expires_after.seconds must be from {SHORTEST_KEPT_S} to {LONGEST_KEPT_S}.", param="expires_after"
        )
    return int(seconds)


def _shown(stored: StoredFile) -> JsonObject:
    return {
        "object": "file",
        "id": stored.id,
        "purpose": stored.shown["purpose"],
        "filename": stored.shown["filename"],
        "bytes": stored.size,
        "created_at": int(stored.created_s),
        "expires_at": None if stored.expires_s == float("inf") else int(stored.expires_s),
        "status": "processed",
        "status_details": None,
    }
