"""Requests to the sandbox's OpenAI that its tests send, every default valid."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types.responses import Response

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import TEXTS, pack_schema, pack_text

MODEL = "gpt-6-luna"
EARLIER_MODEL = "gpt-5.4-mini"

# Strict mode wants every property required.
ENTRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "quote": {"type": "string"},
        "topic": {"type": "string", "enum": ["delivery", "payment", "termination"]},
        "amount": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "binding": {"type": "boolean"},
    },
    "required": ["n", "quote", "topic", "amount", "tags", "binding"],
    "additionalProperties": False,
}


def text_format(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """A `text` that binds the answer to `schema`, strictly."""
    return {
        "format": {"type": "json_schema", "name": "results", "strict": True, "schema": schema or pack_schema(ENTRY)}
    }


def message(role: str, text: str, *, marked: bool = False, ttl: str | None = None) -> dict[str, Any]:
    """An input message of one part, which may end in an explicit breakpoint."""
    part: dict[str, Any] = {"type": "input_text", "text": text}
    if marked:
        part["prompt_cache_breakpoint"] = {"mode": "explicit"} if ttl is None else {"mode": "explicit", "ttl": ttl}
    return {"role": role, "content": [part]}


def client_of(sandbox: Sandbox, api_key: str = "sandbox") -> openai.OpenAI:
    """A real SDK client that never retries by itself."""
    return openai.OpenAI(base_url=sandbox.openai_url, api_key=api_key, max_retries=0, timeout=20)


def ask(client: openai.OpenAI, *texts: str, **more: Any) -> Response:
    """Send a pack of `texts` (the defaults when none) with structured output."""
    request: dict[str, Any] = {
        "model": MODEL,
        "input": [message("user", pack_text(*(texts or TEXTS)))],
        "text": text_format(),
        "store": False,
    }
    response: Response = client.responses.create(**{**request, **more})
    return response


def results(response: Response) -> list[dict[str, Any]]:
    """The entries of a pack's answer."""
    found: list[dict[str, Any]] = json.loads(response.output_text)["results"]
    return found


def cache_counts(response: Response) -> tuple[int, int]:
    """Tokens written to and read from the cache."""
    assert response.usage is not None
    details = response.usage.input_tokens_details
    return details.cache_write_tokens, details.cached_tokens
