"""Gemini's API, driven by the real SDK and, where the SDK does not reach, by HTTP."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pydantic
import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.tokens import tokens_of

from .asking import TEXTS, pack_schema, pack_text
from .asking_google import EARLIER_MODEL, MODEL, ask, client_of, results, usage_of
from .asking_openai import ENTRY


@pytest.fixture
def google_client(sandbox: Sandbox) -> Iterator[genai.Client]:
    client = client_of(sandbox)
    yield client
    client.close()


def posted(sandbox: Sandbox, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a body the SDK would not write so."""
    request = urllib.request.Request(
        f"{sandbox.google_url}/v1beta/{path}", json.dumps(body).encode(), {"x-goog-api-key": "sandbox"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["x-tokenopt-sandbox"] == "simulated"
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def finish_reason(response: types.GenerateContentResponse) -> str:
    assert response.candidates
    reason = response.candidates[0].finish_reason
    assert reason is not None
    return reason.name


def test_a_structured_answer_fits_its_schema_and_names_every_block(google_client: genai.Client) -> None:
    response = ask(google_client)
    assert finish_reason(response) == "STOP"
    jsonschema_rs.validator_for(pack_schema(ENTRY)).validate(json.loads(response.text or ""))
    assert [entry["n"] for entry in results(response)] == [1, 2, 3]


def test_the_stable_version_answers_the_same(sandbox: Sandbox, google_client: genai.Client) -> None:
    stable = client_of(sandbox, version="v1")
    assert results(ask(stable)) == results(ask(google_client))
    stable.close()


def test_a_pydantic_schema_travels_in_the_openapi_subset(google_client: genai.Client) -> None:
    class Clause(pydantic.BaseModel):
        title: str
        share: float | None
        tags: list[str]

    response = ask(google_client, "one", response_json_schema=None, response_schema=Clause)
    assert isinstance(response.parsed, Clause)


def test_json_without_a_schema_is_some_object_and_prose_is_prose(google_client: genai.Client) -> None:
    assert isinstance(json.loads(ask(google_client, response_json_schema=None).text or ""), dict)
    prose = ask(google_client, response_json_schema=None, response_mime_type=None)
    assert (prose.text or "").startswith("The text says")


def test_both_spellings_of_a_field_are_read(sandbox: Sandbox) -> None:
    schema = pack_schema(ENTRY)
    prompt = [{"role": "user", "parts": [{"text": pack_text(*TEXTS)}]}]
    camel = {
        "contents": prompt,
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
            "maxOutputTokens": 30,
        },
    }
    snake = {
        "contents": prompt,
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {
            "response_mime_type": "application/json",
            "response_json_schema": schema,
            "max_output_tokens": 30,
        },
    }
    answers = [posted(sandbox, f"models/{MODEL}:generateContent", body) for body in (camel, snake)]
    assert answers[0]["candidates"] == answers[1]["candidates"]
    assert answers[0]["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert answers[0]["usageMetadata"] == answers[1]["usageMetadata"]


def test_a_schemas_own_names_are_left_alone(google_client: genai.Client) -> None:
    schema = {"type": "object", "properties": {"due_date": {"type": "string"}}, "required": ["due_date"]}
    assert list(json.loads(ask(google_client, response_json_schema=schema).text or "")) == ["due_date"]


def test_tokens_are_characters_over_four_and_schemas_cost_none(sandbox: Sandbox, google_client: genai.Client) -> None:
    prompt, system = pack_text(*TEXTS), "Be brief."
    response = ask(google_client, system_instruction=system)
    expected = -(-(len(prompt) + len(system)) // 4)
    assert usage_of(response) == (expected, 0, tokens_of(response.text or ""))
    assert response.usage_metadata is not None
    assert response.usage_metadata.total_token_count == expected + tokens_of(response.text or "")
    assert google_client.models.count_tokens(model=MODEL, contents=prompt).total_tokens == tokens_of(prompt)
    whole = {
        "model": f"models/{MODEL}",
        "contents": [{"role": "user", "parts": [{"text": prompt}]}],
        "systemInstruction": {"parts": [{"text": system}]},
    }
    counted = posted(sandbox, f"models/{MODEL}:countTokens", {"generateContentRequest": whole})
    assert counted["totalTokens"] == expected


def test_an_answer_longer_than_the_limit_is_cut_there(google_client: genai.Client) -> None:
    whole = ask(google_client).text or ""
    response = ask(google_client, max_output_tokens=20)
    assert finish_reason(response) == "MAX_TOKENS"
    assert response.text == whole[:80]


def test_thoughts_are_counted_beside_the_answer() -> None:
    with running_sandbox(SandboxConfig(thinking_tokens=50)) as sandbox:
        client = client_of(sandbox)
        usage = ask(client).usage_metadata
        assert usage is not None
        assert usage.thoughts_token_count == 50
        assert usage.total_token_count == (usage.prompt_token_count or 0) + 50 + (usage.candidates_token_count or 0)
        silent = ask(client, model=EARLIER_MODEL, thinking_config=types.ThinkingConfig(thinking_budget=0))
        assert silent.usage_metadata is not None
        assert silent.usage_metadata.thoughts_token_count is None
        assert ask(client, max_output_tokens=50).text is None
        client.close()


def test_thinking_is_set_by_level_or_by_budget(google_client: genai.Client) -> None:
    level = types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
    assert finish_reason(ask(google_client, thinking_config=level)) == "STOP"
    with pytest.raises(errors.ClientError, match="Thinking level is not supported"):
        ask(google_client, model=EARLIER_MODEL, thinking_config=level)


def test_models_are_listed_and_shown(sandbox: Sandbox, google_client: genai.Client) -> None:
    listed = [model.name for model in google_client.models.list(config={"page_size": 3})]
    assert f"models/{MODEL}" in listed
    assert len(listed) == len(set(listed)) > 3  # the SDK follows the pages
    shown = google_client.models.get(model=MODEL)
    assert (shown.input_token_limit, shown.output_token_limit) == (1_048_576, 65_536)
    assert google_client.models.get(model="gemini-flash-latest").name == f"models/{MODEL}"
    stable = client_of(sandbox, version="v1")
    with pytest.raises(errors.ClientError) as refused:
        stable.models.get(model="gemini-flash-latest")
    assert refused.value.code == 404
    stable.close()


def test_counters_agree_with_usage(sandbox: Sandbox, google_client: genai.Client) -> None:
    usages = [usage_of(ask(google_client)) for _ in range(2)]
    with pytest.raises(errors.ClientError):
        ask(google_client, max_output_tokens=10**9)
    stats = sandbox.control.stats()
    assert (stats["requests"], stats["calls"], stats["blocks"]) == (3, 2, 6)
    assert stats["by_status"] == {"200": 2, "400": 1}
    assert stats["by_stop_reason"] == {"STOP": 2}
    assert isinstance(stats["tokens"], dict)
    assert stats["tokens"]["input"] == sum(prompt for prompt, _, _ in usages)
    assert stats["tokens"]["output"] == sum(output for _, _, output in usages)
