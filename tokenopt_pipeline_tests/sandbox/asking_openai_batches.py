"""Files and batches the sandbox's tests send to OpenAI, every default valid."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types import Batch

from .asking import pack_text
from .asking_openai import MODEL, message, text_format


def body(*texts: str, **more: Any) -> dict[str, Any]:
    """What one item asks of `/v1/responses`."""
    return {
        "model": MODEL,
        "input": [message("user", pack_text(*texts))],
        "text": text_format(),
        "store": False,
        **more,
    }


def line(custom_id: str, asked: dict[str, Any], url: str = "/v1/responses", **more: Any) -> dict[str, Any]:
    """One line of an input file."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": asked, **more}


def lines(count: int, **more: Any) -> list[dict[str, Any]]:
    """`count` different lines, `item-0` and so on."""
    return [line(f"item-{n}", body(f"Unit {n} costs {n} euros.", **more)) for n in range(count)]


def upload(client: openai.OpenAI, asked: list[dict[str, Any]] | bytes) -> str:
    """The id of an input file of these lines."""
    content = asked if isinstance(asked, bytes) else "\n".join(map(json.dumps, asked)).encode()
    return client.files.create(file=("input.jsonl", content), purpose="batch").id


def create(client: openai.OpenAI, asked: list[dict[str, Any]] | bytes, **more: Any) -> Batch:
    """A batch of these lines."""
    request: dict[str, Any] = {"endpoint": "/v1/responses", "completion_window": "24h", **more}
    batch: Batch = client.batches.create(input_file_id=upload(client, asked), **request)
    return batch


def content(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a file."""
    assert file_id is not None
    return [json.loads(found) for found in client.files.content(file_id).text.splitlines()]
