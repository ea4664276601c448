"""What the Google provider sends and how it reads what comes back."""

from __future__ import annotations

import gc
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.google import _config
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.adapters.provider_exchange import (
    KEY,
    SCHEMA,
    Exchange,
    a_body,
    a_request_to,
    answering,
    error_of,
)

_UNSAYABLE = {"type": "object", "additionalProperties": {"type": "string"}}


def a_candidate(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A response whose one candidate has these parts."""
    return {**a_body("google"), "candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP", **members}]}


def test_the_schema_the_shared_part_and_the_least_thinking_are_asked_for() -> None:
    exchange = answering("google")
    exchange.complete(a_request_to("google", thinking='{"thinking_level":"MINIMAL"}', cache_ttl="5m"))
    assert exchange.sent[0].url.path == "/v1beta/models/gemini-3.8-flash:generateContent"
    assert exchange.body == {
        "contents": [{"role": "user", "parts": [{"text": "<blocks>"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": "Extract."}]},
        "generationConfig": {
            "maxOutputTokens": 512,
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinking_level": "MINIMAL"},
        },
    }


def test_a_schema_that_gemini_cannot_read_is_left_to_the_words_of_the_prompt() -> None:
    exchange = answering("google")
    exchange.complete(a_request_to("google", output_schema=_UNSAYABLE))
    assert exchange.body["generationConfig"] == {"maxOutputTokens": 512, "responseMimeType": "application/json"}


def test_properties_are_sent_in_their_own_order_which_is_the_order_of_the_answer() -> None:
    properties = {name: {"type": "string"} for name in ("quote", "reason", "answer")}
    exchange = answering("google")
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    exchange.complete(a_request_to("google", output_schema=schema))
    sent = exchange.sent[0].content
    assert sent.index(b'"quote":') < sent.index(b'"reason":') < sent.index(b'"answer":')


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_the_key_of_the_environment_is_used_when_none_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, KEY)
    exchange = Exchange("google", lambda _: httpx2.Response(200, json=a_body("google")), api_key=None)
    exchange.complete()
    assert exchange.sent[0].headers["x-goog-api-key"] == KEY


def test_the_environment_turns_the_client_to_no_other_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "")
    exchange = Exchange("google", lambda _: httpx2.Response(200, json=a_body("google")), base_url=None)
    exchange.complete()
    assert str(exchange.sent[0].url).startswith("https://generativelanguage.googleapis.com/v1beta/models/")


def test_a_collected_client_does_not_close_the_providers_connection() -> None:
    exchange = answering("google")
    exchange.complete()
    gc.collect()
    assert exchange.complete().stop is StopReason.COMPLETE


def test_the_sdk_is_told_to_make_no_calls_of_its_own() -> None:
    config = _config(a_request_to("google"), timeout_s=5)
    assert config.automatic_continuation is False
    assert config.automatic_function_calling is not None
    assert config.automatic_function_calling.disable is True


def test_an_answer_that_could_be_continued_is_one_call() -> None:
    body = a_candidate({"text": '{"results": ['}, finishReason="CONTINUATION", continuationToken="dG9rZW4=")
    exchange = answering("google", body=body)
    assert exchange.complete().stop is StopReason.TRUNCATED
    assert len(exchange.sent) == 1


# --- reading the answer


def test_thoughts_are_not_the_answer_and_are_billed_as_output() -> None:
    body = a_candidate(
        {"text": "hm", "thought": True}, {"text": '{"results"'}, {"text": ": []}", "thoughtSignature": "s"}
    )
    body["usageMetadata"] |= {"thoughtsTokenCount": 40, "totalTokenCount": 52}
    response = answering("google", body=body).complete()
    assert response.text == '{"results": []}'
    assert response.usage == TokenUsage(input_uncached=10, output=42)


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("STOP", StopReason.COMPLETE),
        ("MAX_TOKENS", StopReason.TRUNCATED),
        ("CONTINUATION", StopReason.TRUNCATED),
        *(
            (reason, StopReason.REFUSED)
            for reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")
        ),
        *((reason, StopReason.REFUSED) for reason in ("LANGUAGE", "ESCALATION", "MODEL_ARMOR", "PUP_LIMITED_DISABLED")),
        ("OTHER", StopReason.COMPLETE),
        ("MALFORMED_RESPONSE", StopReason.COMPLETE),
        ("A_REASON_OF_NEXT_YEAR", StopReason.COMPLETE),
        (1, StopReason.COMPLETE),
        (2, StopReason.TRUNCATED),
        (3, StopReason.REFUSED),
        (99, StopReason.COMPLETE),
    ],
)
def test_every_finish_reason_has_its_meaning(said: object, stop: StopReason) -> None:
    response = answering("google", body=a_candidate({"text": "{}"}, finishReason=said)).complete()
    assert response.stop is stop
    assert (response.text == "") is (response.refusal is not None) is (stop is StopReason.REFUSED)


@pytest.mark.parametrize(
    ("feedback", "words"),
    [
        ({"blockReason": "SAFETY"}, "SAFETY"),
        ({"blockReason": "MODEL_ARMOR", "blockReasonMessage": "It broke\na filter."}, "It broke a filter."),
    ],
)
def test_a_blocked_prompt_is_a_refusal_with_what_was_billed(feedback: dict[str, str], words: str) -> None:
    response = answering(
        "google", body={"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 9}}
    ).complete()
    assert (response.text, response.stop, response.refusal) == ("", StopReason.REFUSED, words)
    assert response.usage == TokenUsage(input_uncached=9)


def test_a_read_from_the_implicit_cache_is_part_of_the_prompt_and_counted_once() -> None:
    body = a_candidate({"text": "{}"})
    body["usageMetadata"] |= {"promptTokenCount": 5000, "cachedContentTokenCount": 4096, "toolUsePromptTokenCount": 3}
    assert answering("google", body=body).complete().usage == TokenUsage(input_uncached=907, cache_read=4096, output=2)


def test_the_request_id_is_the_responses() -> None:
    assert answering("google").complete().request_id == "r_1"
    assert answering("google", body={**a_body("google"), "responseId": None}).complete().request_id is None


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"candidates": None}, id="no candidates"),
        pytest.param({"candidates": []}, id="empty candidates"),
        pytest.param({"candidates": ["text"]}, id="candidates of strings"),
        pytest.param({"usageMetadata": None}, id="no usage"),
        pytest.param({"usageMetadata": {"promptTokenCount": "9"}}, id="tokens that are text"),
    ],
)
def test_json_that_is_no_response_is_nobodys_answer(members: dict[str, Any]) -> None:
    problem = error_of(answering("google", body={**a_body("google"), **members}))
    assert isinstance(problem, ProviderUnavailable)
    assert "cannot be read" in str(problem)
