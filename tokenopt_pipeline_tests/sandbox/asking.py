"""Requests the sandbox's tests send, every default valid."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox

MODEL = "claude-haiku-5-5"
OLD_MODEL = "claude-haiku-4-5"
TEXTS = (
    "The supplier shall deliver 40 units by 2024-03-01 to the warehouse in Bremen.",
    'Payment is due within 30 days; "net 30" applies to every invoice.',
    "Either party may terminate this agreement with written notice.",
)

ENTRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "quote": {"type": "string"},
        "topic": {"enum": ["delivery", "payment", "termination"]},
        "amount": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "binding": {"type": "boolean"},
    },
    "required": ["n", "quote", "topic", "amount", "binding"],
    "additionalProperties": False,
}


def pack_schema(entry: dict[str, Any] | None = None) -> dict[str, Any]:
    """The output schema of a pack."""
    return {
        "type": "object",
        "properties": {"results": {"type": "array", "items": entry or ENTRY}},
        "required": ["results"],
        "additionalProperties": False,
    }


def pack_text(*texts: str, key: str = "n") -> str:
    """A user message in pack format 1."""
    lines = [json.dumps({key: n, "type": "paragraph", "text": text}) for n, text in enumerate(texts, 1)]
    return "\n".join([f'<blocks format="1" count="{len(texts)}">', *lines, "</blocks>"])


def json_format(schema: dict[str, Any]) -> dict[str, Any]:
    """An `output_config` that binds the answer to `schema`."""
    return {"format": {"type": "json_schema", "schema": schema}}


def client_of(sandbox: Sandbox, api_key: str = "sandbox", **more: Any) -> anthropic.Anthropic:
    """A real SDK client that never retries by itself."""
    return anthropic.Anthropic(base_url=sandbox.anthropic_url, api_key=api_key, max_retries=0, timeout=20, **more)


def ask(client: anthropic.Anthropic, *texts: str, **more: Any) -> anthropic.types.Message:
    """Send a pack of `texts` (the defaults when none) with structured output."""
    request: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": pack_text(*(texts or TEXTS))}],
        "output_config": json_format(pack_schema()),
    }
    message: anthropic.types.Message = client.messages.create(**{**request, **more})
    return message


def said(message: anthropic.types.Message) -> str:
    """The text of the answer."""
    return "".join(block.text for block in message.content if block.type == "text")


def results(message: anthropic.types.Message) -> list[dict[str, Any]]:
    """The entries of a pack's answer."""
    found: list[dict[str, Any]] = json.loads(said(message))["results"]
    return found


def shared(path: str) -> Path:
    """A file of the shared data; skips the test without it."""
    root = Path(os.environ.get("TOKENOPT_SHARED") or Path(__file__).parents[3] / "shared")
    if not (root / path).exists():
        pytest.skip(f"recorded exchanges are not at hand ({path} under TOKENOPT_SHARED)")
    return root / path
