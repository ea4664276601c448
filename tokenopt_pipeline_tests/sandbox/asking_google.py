"""Requests to the sandbox's Google that its tests send, every default valid."""

from __future__ import annotations

import json
from typing import Any

from google import genai
from google.genai import types

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import TEXTS, pack_schema, pack_text
from .asking_openai import ENTRY

MODEL = "gemini-3.8-flash"
EARLIER_MODEL = "gemini-2.5-flash"


def client_of(sandbox: Sandbox, api_key: str = "sandbox", version: str = "v1beta") -> genai.Client:
    """A real SDK client; it retries nothing unless told to."""
    options = types.HttpOptions(base_url=sandbox.google_url, api_version=version, timeout=20_000)
    return genai.Client(api_key=api_key, http_options=options)


def ask(client: genai.Client, *texts: str, model: str = MODEL, **more: Any) -> types.GenerateContentResponse:
    """Send a pack of `texts` (the defaults when none) with structured output."""
    config: dict[str, Any] = {
        "response_mime_type": "application/json",
        "response_json_schema": pack_schema(ENTRY),
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
        **more,
    }
    return client.models.generate_content(
        model=model,
        contents=pack_text(*(texts or TEXTS)),
        config=types.GenerateContentConfig(**config),
    )


def results(response: types.GenerateContentResponse) -> list[dict[str, Any]]:
    """The entries of a pack's answer."""
    found: list[dict[str, Any]] = json.loads(response.text or "")["results"]
    return found


def usage_of(response: types.GenerateContentResponse) -> tuple[int, int, int]:
    """Tokens of the prompt, of what of it was cached, and of the answer."""
    usage = response.usage_metadata
    assert usage is not None
    return usage.prompt_token_count or 0, usage.cached_content_token_count or 0, usage.candidates_token_count or 0
