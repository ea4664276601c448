"""Google's endpoints for files: uploads in pieces, and downloads of what batches made."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.batch_door import BatchDoor
from tokenopt_pipeline.sandbox.batch_faults import Occasion
from tokenopt_pipeline.sandbox.batch_results import download
from tokenopt_pipeline.sandbox.door import json_response
from tokenopt_pipeline.sandbox.google_door import GoogleDoor, key_of
from tokenopt_pipeline.sandbox.google_fields import known_fields, read_fields
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object
from tokenopt_pipeline.sandbox.stored_files import StoredFile, Upload, lines_of

# https://ai.google.dev/gemini-api/docs/files and …/batch-api, read 2026-11-22.
_MAX_BYTES = 2 * 1024 * 1024 * 1024
KEPT_S = 48 * 3600
_PAGE, _LARGEST_PAGE = 10, 100
_FIELDS = ("name", "displayName", "mimeType", "sizeBytes")


class GoogleFileDoor(BatchDoor, GoogleDoor):
    """The handlers of one sandbox."""

    def routes(self) -> list[Route]:
        """The paths of files; they go before those of content, which end in a catch-all."""
        one = "/{version}/files/{file_id}"
        return [
            Route("/upload/{version}/files", self._answering(self._upload), methods=["POST"]),
            Route("/{version}/files", self._answering(self._list), methods=["GET"]),
            Route(f"{one}:download", self._answering(self._download), methods=["GET"]),
            Route(one, self._answering(self._show), methods=["GET"]),
            Route(one, self._answering(self._delete), methods=["DELETE"]),
        ]

    async def _upload(self, http: Request, request_id: str) -> Response:
        upload_id = http.query_params.get("upload_id")
        return await (self._begin(http) if upload_id is None else self._take(http, upload_id))

    async def _begin(self, http: Request) -> Response:
        key = key_of(http)
        self._admit()
        if http.headers.get("x-goog-upload-protocol") != "resumable":
            raise errors.invalid("Only the resumable upload protocol is spoken here.")
        fields = as_object(read_fields(await self._body(http)).get("file"))
        known_fields(fields, _FIELDS, "file")
        upload_id = self._engine.identifier("upload")
        self._runner.files.uploads[upload_id] = Upload(
            key=key,
            name=None if fields.get("name") is None else str(fields["name"]),
            display_name=str(fields.get("displayName") or ""),
            mime_type=str(http.headers.get("x-goog-upload-header-content-type") or fields.get("mimeType") or ""),
        )
        response = json_response({}, 200)
        path = f"/upload/{http.path_params['version']}/files?upload_id={upload_id}&upload_protocol=resumable"
        response.headers["x-goog-upload-url"] = _mount(http) + path
        response.headers["x-goog-upload-status"] = "active"
        return response

    async def _take(self, http: Request, upload_id: str) -> Response:
        # Without a key, as the SDK sends it: the name of the upload is the credential.
        upload = self._runner.files.uploads.get(upload_id)
        if upload is None:
            raise errors.invalid("Upload has already been terminated or is unknown.")
        commands = [command.strip() for command in http.headers.get("x-goog-upload-command", "").split(",")]
        if http.headers.get("x-goog-upload-offset") != str(len(upload.content)) or "upload" not in commands:
            raise errors.invalid(f"Expected an upload from offset {len(upload.content)} on.")
        upload.content += await self._large_body(http, _MAX_BYTES)
        if "finalize" not in commands:
            response = Response(status_code=200)
            response.headers["x-goog-upload-status"] = "active"
            return response
        del self._runner.files.uploads[upload_id]
        content = bytes(upload.content)

        def accept() -> Response:
            stored = self._stored(upload, content)
            self._runner.files.add(stored)
            response = json_response({"file": shown_file(stored, _mount(http))}, 200)
            response.headers["x-goog-upload-status"] = "final"
            return response

        return self._accepting(Occasion.UPLOAD, content, upload.display_name, accept)

    async def _list(self, http: Request, request_id: str) -> Response:
        found = self._runner.files.of("google", key_of(http), self._engine.clock())
        shown = [shown_file(stored, _mount(http)) for stored in found]
        return json_response(page_of(http, "files", shown, _PAGE, _LARGEST_PAGE), 200)

    async def _show(self, http: Request, request_id: str) -> Response:
        return json_response(shown_file(self._found(http), _mount(http)), 200)

    async def _delete(self, http: Request, request_id: str) -> Response:
        self._runner.files.remove(self._found(http))
        return json_response({}, 200)

    async def _download(self, http: Request, request_id: str) -> Response:
        stored = self._found(http)
        if stored.batch_id is None:
            raise errors.invalid("Only generated files can be downloaded.")
        fault = self._runner.decide(Occasion.RESULTS, stored.id.encode(), stored.batch_id)
        return download(
            stored.lines, fault, media_type="application/octet-stream", huge_bytes=self._runner.plan.huge_bytes
        )

    def _found(self, http: Request) -> StoredFile:
        name, key = f"files/{http.path_params['file_id']}", key_of(http)
        stored = self._runner.files.find("google", name, key, self._engine.clock())
        if stored is None:
            raise errors.file_unknown(name)
        return stored

    def _stored(self, upload: Upload, content: bytes) -> StoredFile:
        now_s = self._engine.clock()
        digest = base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode()
        return StoredFile(
            provider="google",
            id=upload.name or self._engine.identifier("files/"),
            key=upload.key,
            lines=lines_of(content),
            size=len(content),
            created_s=now_s,
            expires_s=now_s + KEPT_S,
            shown={"displayName": upload.display_name, "mimeType": upload.mime_type, "sha256Hash": digest},
        )


def page_of(http: Request, name: str, found: list[JsonObject], default: int, largest: int) -> JsonObject:
    """A page of `found` as `pageSize` and `pageToken` ask for it. Raises GoogleRefused."""
    size, token = http.query_params.get("pageSize", str(default)), http.query_params.get("pageToken", "0")
    if not size.isdigit() or not token.isdigit() or not 1 <= int(size) <= largest:
        raise errors.invalid(f"pageSize must be from 1 to {largest}, and pageToken what the API gave.")
    end = int(token) + int(size)
    page: list[Json] = list(found[int(token) : end])
    listed: JsonObject = {name: page} if page else {}
    if end < len(found):
        listed["nextPageToken"] = str(end)
    return listed


def shown_file(stored: StoredFile, mount: str) -> JsonObject:
    """The file as the API shows it."""
    made = stored.batch_id is not None
    uri = f"{mount}/v1beta/{stored.id}"
    shown: JsonObject = {
        "name": stored.id,
        **{name: value for name, value in stored.shown.items() if value},
        "sizeBytes": str(stored.size),
        "createTime": rfc3339(stored.created_s),
        "updateTime": rfc3339(stored.created_s),
        "expirationTime": rfc3339(stored.expires_s),
        "uri": uri,
        "state": "ACTIVE",
        "source": "GENERATED" if made else "UPLOADED",
    }
    if made:
        shown["downloadUri"] = f"{uri}:download?alt=media"
    return shown


def rfc3339(moment_s: float) -> str:
    """`moment_s` as the API writes it."""
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _mount(http: Request) -> str:
    return f"{http.url.scheme}://{http.url.netloc}{http.scope.get('root_path', '')}"
