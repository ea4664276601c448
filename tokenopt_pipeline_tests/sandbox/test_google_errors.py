"""What Google refuses and how it fails, met through the real SDK."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking_google import MODEL, ask, client_of, results
from .test_google import finish_reason, posted


@pytest.fixture
def google_client(sandbox: Sandbox) -> Iterator[genai.Client]:
    client = client_of(sandbox)
    yield client
    client.close()


def spoil(sandbox: Sandbox, fault: str, **plan: Any) -> None:
    sandbox.control.set_faults({"scripted": [{"nth_request": 1, "fault": fault}], **plan})


def details(error: errors.APIError) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = error.details["error"].get("details", [])
    return found


@pytest.mark.parametrize(
    ("fault", "error", "found"),
    [
        ("rate_limit_429", errors.ClientError, (429, "RESOURCE_EXHAUSTED")),
        ("spend_limit_429", errors.ClientError, (429, "RESOURCE_EXHAUSTED")),
        ("overloaded_529", errors.ServerError, (503, "UNAVAILABLE")),
        ("server_error_500", errors.ServerError, (500, "INTERNAL")),
        ("usage_limit_400", errors.ClientError, (400, "FAILED_PRECONDITION")),
    ],
)
def test_a_failed_call_raises_what_the_sdk_raises_for_the_real_one(
    google_client: genai.Client, sandbox: Sandbox, fault: str, error: type[errors.APIError], found: tuple[int, str]
) -> None:
    spoil(sandbox, fault, retry_after_s=7)
    with pytest.raises(error) as caught:
        ask(google_client)
    assert (caught.value.code, caught.value.status) == found
    waits = [detail["retryDelay"] for detail in details(caught.value) if detail["@type"].endswith("RetryInfo")]
    assert waits == (["7s"] if fault == "rate_limit_429" else [])
    assert sandbox.control.stats()["calls"] == 0
    assert len(results(ask(google_client))) == 3  # the retry succeeds


def test_a_reset_connection_is_the_transports_own_error(sandbox: Sandbox, google_client: genai.Client) -> None:
    spoil(sandbox, "connection_reset")
    with pytest.raises(httpx2.TransportError):
        ask(google_client)
    assert sandbox.control.stats()["by_status"] == {"reset": 1}


def test_a_refusal_is_a_candidate_without_content(sandbox: Sandbox, google_client: genai.Client) -> None:
    spoil(sandbox, "refuse")
    response = ask(google_client)
    assert finish_reason(response) == "SAFETY"
    assert response.text is None


def test_a_blocked_prompt_has_no_candidate(sandbox: Sandbox, google_client: genai.Client) -> None:
    spoil(sandbox, "block_prompt")
    response = ask(google_client)
    assert not response.candidates
    assert response.prompt_feedback is not None
    assert response.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    assert response.usage_metadata is not None
    assert response.usage_metadata.total_token_count == response.usage_metadata.prompt_token_count
    assert sandbox.control.stats()["by_stop_reason"] == {"PROMPT_BLOCKED": 1}


def test_a_truncation_stops_inside_the_answer(sandbox: Sandbox, google_client: genai.Client) -> None:
    whole = ask(google_client).text or ""
    spoil(sandbox, "truncate")
    response = ask(google_client)
    assert finish_reason(response) == "MAX_TOKENS"
    assert whole.startswith(response.text or "-")
    assert len(response.text or "") < len(whole)


@pytest.mark.parametrize("fault", ["malformed", "prose"])
def test_an_answer_can_be_no_json(sandbox: Sandbox, google_client: genai.Client, fault: str) -> None:
    spoil(sandbox, fault)
    with pytest.raises(ValueError):
        json.loads(ask(google_client).text or "")


def test_a_bad_key_is_a_bad_request(sandbox: Sandbox) -> None:
    client = client_of(sandbox, "invalid-key")
    with pytest.raises(errors.ClientError, match="API key not valid") as caught:
        ask(client)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert details(caught.value)[0]["reason"] == "API_KEY_INVALID"
    client.close()


def test_a_key_can_lack_permission(sandbox: Sandbox) -> None:
    client = client_of(sandbox, "restricted-key")
    with pytest.raises(errors.ClientError) as caught:
        ask(client)
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
    client.close()


@pytest.mark.parametrize(
    ("more", "found", "words"),
    [
        ({"model": "gemini-nobody"}, (404, "NOT_FOUND"), "is not found for API version v1beta"),
        ({"max_output_tokens": 10**6}, (400, "INVALID_ARGUMENT"), "maxOutputTokens value of 1000000"),
        ({"response_mime_type": None}, (400, "INVALID_ARGUMENT"), "response_mime_type"),
        (
            {"response_json_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/b", "title": "c"}}}},
            (400, "INVALID_ARGUMENT"),
            "no sibling",
        ),
        (
            {
                "response_json_schema": {
                    "type": "object",
                    "properties": {"a": {"$ref": "#"}},
                    "required": ["a"],
                }
            },
            (400, "INVALID_ARGUMENT"),
            "recursive",
        ),
        ({"response_json_schema": {"type": "nothing"}}, (400, "INVALID_ARGUMENT"), "not a valid JSON Schema"),
        (
            {"system_instruction": "a" * 4 * 1_048_577},
            (400, "INVALID_ARGUMENT"),
            "exceeds the maximum number of tokens allowed",
        ),
    ],
)
def test_a_bad_request_names_its_fault(
    google_client: genai.Client, more: dict[str, Any], found: tuple[int, str], words: str
) -> None:
    with pytest.raises(errors.ClientError, match=words) as caught:
        ask(google_client, **more)
    assert (caught.value.code, caught.value.status) == found


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}], "maxTokens": 5},
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}], "generationConfig": {"max_tokens": 5}},
        {"contents": [{"role": "system", "parts": [{"text": "a"}]}]},
        {"contents": []},
        {
            "contents": [{"parts": [{"text": "a"}]}],
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 0, "thinking_level": "LOW"}},
        },
    ],
)
def test_a_body_nobody_understands_is_refused(sandbox: Sandbox, body: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        posted(sandbox, f"models/{MODEL}:generateContent", body)
    assert json.loads(caught.value.read())["error"]["status"] == "INVALID_ARGUMENT"


def test_optional_recursion_is_taken(google_client: genai.Client) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"type": "string"}}, "required": ["b"]}
    assert "b" in json.loads(ask(google_client, response_json_schema=schema).text or "")


def test_requests_beyond_the_minutes_limit_are_refused() -> None:
    with running_sandbox(SandboxConfig(requests_per_minute=1)) as sandbox:
        client = client_of(sandbox)
        ask(client)
        with pytest.raises(errors.ClientError) as caught:
            ask(client)
        assert caught.value.code == 429
        assert sandbox.control.stats()["by_status"] == {"200": 1, "429": 1}
        client.close()
