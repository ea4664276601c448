"""Our Google responses beside recorded ones: every key real answers always have, ours have, with the same JSON type."""

from __future__ import annotations

import gzip
import json
import statistics
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import TEXTS, pack_schema, pack_text, shared
from .asking_google import EARLIER_MODEL, ask, client_of
from .asking_openai import ENTRY
from .test_google import posted
from .test_recorded_shapes import assert_covers

GENERATE = "POST /v1beta/models/{model}:generateContent"
THINKING_TOKENS = 50


@cache
def recordings() -> tuple[dict[str, Any], ...]:
    with gzip.open(shared("data/wire/google.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def recorded(endpoint: str, status: int = 200) -> list[dict[str, Any]]:
    return [
        record["response_body"]
        for record in recordings()
        if (record["endpoint"], record["status"]) == (endpoint, status)
    ]


@pytest.fixture(scope="module")
def thinking_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(thinking_tokens=THINKING_TOKENS)) as sandbox:
        yield sandbox


@pytest.fixture
def google_client(thinking_sandbox: Sandbox) -> Iterator[genai.Client]:
    thinking_sandbox.control.reset()
    client = client_of(thinking_sandbox)
    yield client
    client.close()


def generated(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    """The raw answer to a pack: the SDK's types hide what is missing."""
    body = {
        "contents": [{"role": "user", "parts": [{"text": pack_text(*TEXTS)}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": pack_schema(ENTRY)},
        **more,
    }
    return posted(sandbox, f"models/{EARLIER_MODEL}:generateContent", body)


def test_the_response_has_the_keys_of_recorded_ones(thinking_sandbox: Sandbox) -> None:
    theirs = recorded(GENERATE)
    ours = generated(thinking_sandbox)
    assert_covers(ours, theirs)
    assert_covers(ours, [body for body in theirs if "responseId" in body])
    candidates = [body["candidates"][0] for body in theirs]
    assert_covers(ours["candidates"][0], candidates)
    assert_covers(ours["candidates"][0], [candidate for candidate in candidates if "index" in candidate])
    contents = [candidate["content"] for candidate in candidates if "parts" in candidate["content"]]
    assert_covers(ours["candidates"][0]["content"], contents)


def test_usage_has_the_keys_of_recorded_ones(thinking_sandbox: Sandbox) -> None:
    usages = [body["usageMetadata"] for body in recorded(GENERATE)]
    ours = generated(thinking_sandbox)["usageMetadata"]
    assert_covers(ours, usages)
    thought = [usage for usage in usages if "thoughtsTokenCount" in usage and "serviceTier" in usage]
    assert_covers(ours, thought)
    assert all("thoughtsTokenCount" not in usage or usage["thoughtsTokenCount"] for usage in usages)  # zero is left out
    for usage in (*thought, ours):
        counts = [usage.get(f"{name}TokenCount", 0) for name in ("prompt", "candidates", "thoughts", "toolUsePrompt")]
        assert usage["totalTokenCount"] == sum(counts)


def test_a_cached_answer_has_the_keys_of_recorded_ones(thinking_sandbox: Sandbox, google_client: genai.Client) -> None:
    config = types.CreateCachedContentConfig(system_instruction="s" * 8000)
    name = google_client.caches.create(model=EARLIER_MODEL, config=config).name
    ours = generated(thinking_sandbox, cachedContent=name)["usageMetadata"]
    usages = [body["usageMetadata"] for body in recorded(GENERATE)]
    theirs = [usage for usage in usages if "cachedContentTokenCount" in usage and "serviceTier" in usage]
    assert_covers(ours, theirs)
    assert ours["cachedContentTokenCount"] == 2000
    raw = posted(
        thinking_sandbox,
        "cachedContents",
        {"model": f"models/{EARLIER_MODEL}", "contents": [{"role": "user", "parts": [{"text": "s" * 8000}]}]},
    )
    assert_covers(raw, recorded("POST /v1beta/cachedContents"))
    assert_covers(raw["usageMetadata"], [body["usageMetadata"] for body in recorded("POST /v1beta/cachedContents")])


def test_a_refusal_has_the_keys_of_the_recorded_one(thinking_sandbox: Sandbox) -> None:
    (theirs,) = [body for body in recorded(GENERATE) if body["candidates"][0]["finishReason"] == "SAFETY"]
    thinking_sandbox.control.set_faults({"scripted": [{"nth_request": 1, "fault": "refuse"}]})
    ours = generated(thinking_sandbox)
    assert_covers(ours, [theirs])
    assert_covers(ours["candidates"][0], [theirs["candidates"][0]])
    assert_covers(ours["usageMetadata"], [theirs["usageMetadata"]])
    assert ours["candidates"][0]["content"] == theirs["candidates"][0]["content"] == {}


def test_counts_and_models_have_the_keys_of_recorded_ones(thinking_sandbox: Sandbox) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    counted = posted(thinking_sandbox, f"models/{EARLIER_MODEL}:countTokens", body)
    assert_covers(counted, recorded("POST /v1beta/models/{model}:countTokens"))
    from_list = recorded("GET /v1beta/models")[0]["models"]
    with_thinking = [model for model in from_list if model["name"] == f"models/{EARLIER_MODEL}"]
    assert_covers(shown(thinking_sandbox), with_thinking)


def shown(sandbox: Sandbox) -> dict[str, Any]:
    client = client_of(sandbox)
    (found,) = [model for model in client.models.list() if model.name == f"models/{EARLIER_MODEL}"]
    client.close()
    dumped: dict[str, Any] = json.loads(found.model_dump_json(by_alias=True, exclude_none=True))
    # The SDK knows one field by another name.
    return {**dumped, "supportedGenerationMethods": dumped.get("supportedActions")}


def test_an_unknown_model_is_worded_as_recorded(google_client: genai.Client) -> None:
    (theirs,) = recorded(GENERATE, 404)
    with pytest.raises(errors.ClientError) as refused:
        ask(google_client, model="gemini-3.6-flahs")
    assert refused.value.details == theirs


def test_schemas_cost_no_prompt_tokens_in_recordings_either() -> None:
    """Recorded prompts with a schema and no tool: billed tokens against our count, with the schema and without it."""
    without_schema, with_schema = [], []
    for record in recordings():
        body = record["request_body"]
        if record["endpoint"] != GENERATE or record["status"] != 200 or "tools" in body:
            continue
        schema = body.get("generationConfig", {}).get("responseJsonSchema")
        if schema is None:
            continue
        parts = [part for content in body["contents"] for part in content["parts"]]
        parts += body.get("systemInstruction", {}).get("parts", [])
        chars = sum(len(part.get("text", "")) for part in parts)
        billed = record["response_body"]["usageMetadata"]["promptTokenCount"]
        without_schema.append(billed - chars / 4)
        with_schema.append(billed - (chars + len(json.dumps(schema, separators=(",", ":")))) / 4)
    assert len(without_schema) > 10
    assert abs(statistics.median(without_schema)) < 3
    assert statistics.median(with_schema) < -40
