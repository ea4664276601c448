"""Files and batches the sandbox's tests send to Google, every default valid."""

from __future__ import annotations

import io
import json
from typing import Any

from google import genai
from google.genai import types

from .asking import pack_schema, pack_text
from .asking_google import MODEL
from .asking_openai import ENTRY

CONFIG = {"response_mime_type": "application/json", "response_json_schema": pack_schema(ENTRY)}


def inlined(count: int, **config: Any) -> list[types.InlinedRequest]:
    """`count` different requests with the metadata key `item-0` and so on."""
    return [
        types.InlinedRequest(
            contents=pack_text(f"Unit {n} costs {n} euros."),
            config=types.GenerateContentConfig(**{**CONFIG, **config}),
            metadata={"custom_id": f"item-{n}"},
        )
        for n in range(count)
    ]


def line(key: str, text: str, **more: Any) -> dict[str, Any]:
    """One line of an input file."""
    generation = {"responseMimeType": "application/json", "responseJsonSchema": pack_schema(ENTRY), **more}
    contents = [{"role": "user", "parts": [{"text": pack_text(text)}]}]
    return {"key": key, "request": {"contents": contents, "generationConfig": generation}}


def lines(count: int) -> list[dict[str, Any]]:
    """`count` different lines, `item-0` and so on."""
    return [line(f"item-{n}", f"Unit {n} costs {n} euros.") for n in range(count)]


def upload(client: genai.Client, asked: list[dict[str, Any]] | bytes, **config: Any) -> types.File:
    """An input file of these lines."""
    content = asked if isinstance(asked, bytes) else "\n".join(map(json.dumps, asked)).encode()
    settings = types.UploadFileConfig(**{"display_name": "input", "mime_type": "application/jsonl", **config})
    return client.files.upload(file=io.BytesIO(content), config=settings)


def create(
    client: genai.Client, src: list[types.InlinedRequest] | str, name: str = "r1-7", **config: Any
) -> types.BatchJob:
    """A batch of these requests, or of those in a file."""
    return client.batches.create(model=MODEL, src=src, config=types.CreateBatchJobConfig(display_name=name, **config))


def content(client: genai.Client, job: types.BatchJob) -> list[dict[str, Any]]:
    """The lines of a batch's result file."""
    assert job.dest is not None
    assert job.dest.file_name is not None
    return [json.loads(found) for found in client.files.download(file=job.dest.file_name).splitlines()]
