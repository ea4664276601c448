"""Requests to the sandbox's OpenAI-compatible server that its tests send, every default valid."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from tokenopt_pipeline.sandbox.chat_config import CustomServer
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.sandbox.pack import SCHEMA_LINE

from .asking import TEXTS, pack_schema, pack_text
from .asking_openai import ENTRY

MODEL = "local-model"


def server(**settings: Any) -> SandboxConfig:
    """A configuration with this server."""
    return SandboxConfig(custom=CustomServer.from_json(settings))


def client_of(sandbox: Sandbox, api_key: str = "none") -> openai.OpenAI:
    """A real SDK client that never retries by itself."""
    return openai.OpenAI(base_url=sandbox.custom_url, api_key=api_key, max_retries=0, timeout=20)


def json_schema(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """A `response_format` that binds the answer to `schema`."""
    return {"type": "json_schema", "json_schema": {"name": "results", "schema": schema or pack_schema(ENTRY)}}


def contract() -> str:
    """A pack prompt's system part, as far as a model needs it to know the shape."""
    entry = {key: value for key, value in ENTRY.items() if key != "properties"}
    entry["properties"] = {name: node for name, node in ENTRY["properties"].items() if name != "n"}
    entry["required"] = [name for name in ENTRY["required"] if name != "n"]
    return f"## Blocks (pack format 1)\n{SCHEMA_LINE}\n{json.dumps(entry)}\n"


def ask(client: openai.OpenAI, *texts: str, **more: Any) -> ChatCompletion:
    """Send a pack of `texts` (the defaults when none) with structured output."""
    request: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": contract()},
            {"role": "user", "content": pack_text(*(texts or TEXTS))},
        ],
        "response_format": json_schema(),
    }
    completion: ChatCompletion = client.chat.completions.create(**{**request, **more})
    return completion


def said(completion: ChatCompletion) -> str:
    """The text of the answer."""
    return completion.choices[0].message.content or ""


def results(completion: ChatCompletion) -> list[dict[str, Any]]:
    """The entries of a pack's answer."""
    found: list[dict[str, Any]] = json.loads(said(completion))["results"]
    return found
