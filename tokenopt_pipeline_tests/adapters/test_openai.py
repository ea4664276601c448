"""What the OpenAI provider sends and how it reads what comes back."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.domain.errors import ProviderUnavailable, RateLimited, RequestRejected
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


def a_response(*content: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A response whose one message has these parts."""
    return {**a_body("openai"), "output": [{"type": "message", "content": list(content)}], **members}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text}


def test_the_shared_part_is_a_developer_message_and_the_schema_is_strict() -> None:
    exchange = answering("openai")
    exchange.complete(a_request_to("openai", thinking='{"effort":"none"}'))
    entry = exchange.body["text"]["format"]["schema"]["properties"]["results"]["items"]
    assert entry["required"] == ["n", "a"]
    del exchange.body["text"]
    assert {key: value for key, value in exchange.body.items() if key != "text"} == {
        "model": "gpt-6-luna",
        "max_output_tokens": 512,
        "input": [
            {"role": "developer", "content": [{"type": "input_text", "text": "Extract."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "<blocks>"}]},
        ],
        "store": False,
        "prompt_cache_options": {"mode": "explicit"},
        "reasoning": {"effort": "none"},
    }
    assert {k: v for k, v in exchange.body["text"]["format"].items() if k != "schema"} == {
        "type": "json_schema",
        "name": "results",
        "strict": True,
    }


def test_a_schema_that_strict_mode_cannot_express_is_left_to_the_words_of_the_prompt() -> None:
    exchange = answering("openai")
    exchange.complete(a_request_to("openai", output_schema=_UNSAYABLE))
    assert "text" not in exchange.body


@pytest.mark.parametrize(("planned", "sent"), [("5m", "30m"), ("1h", "12h")])
def test_the_cache_mark_stands_at_the_end_of_the_shared_part_and_nowhere_else(planned: str, sent: str) -> None:
    exchange = answering("openai")
    exchange.complete(a_request_to("openai", cache_ttl=planned))
    assert exchange.body["input"][0]["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}
    assert exchange.body["prompt_cache_options"] == {"mode": "explicit", "ttl": sent}
    assert exchange.sent[0].content.count(b"prompt_cache_breakpoint") == 1


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("gpt-5.6", True),
        ("gpt-5.6-luna", True),
        ("gpt-5.10", True),
        ("gpt-6-luna", True),
        ("gpt-6.1-sol-2026-09-29", True),
        ("gpt-5.5", False),
        ("gpt-5.4-nano", False),
        ("gpt-5-mini-2025-08-07", False),
        ("gpt-4o", False),
        ("o4-mini", False),
    ],
)
def test_only_models_that_know_breakpoints_get_cache_fields(model: str, takes: bool) -> None:
    exchange = answering("openai")
    exchange.complete(a_request_to("openai", model, cache_ttl="5m"))
    assert (b"prompt_cache" in exchange.sent[0].content) is takes


def test_reasoning_is_left_out_when_the_model_table_says_nothing() -> None:
    exchange = answering("openai")
    exchange.complete()
    assert "reasoning" not in exchange.body


def test_equal_requests_are_equal_bytes_whatever_the_order_of_the_schemas_keywords() -> None:
    exchange = answering("openai")
    for schema in (SCHEMA, {key: SCHEMA[key] for key in reversed(SCHEMA)}):
        exchange.complete(a_request_to("openai", output_schema=schema))
    assert exchange.sent[0].content == exchange.sent[1].content


def test_the_key_of_the_environment_is_used_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    exchange = Exchange("openai", lambda _: httpx2.Response(200, json=a_body("openai")), api_key=None)
    exchange.complete()
    assert exchange.sent[0].headers["authorization"] == f"Bearer {KEY}"


def test_an_empty_base_url_in_the_environment_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    exchange = Exchange("openai", lambda _: httpx2.Response(200, json=a_body("openai")), base_url=None)
    exchange.complete()
    assert str(exchange.sent[0].url) == "https://api.openai.com/v1/responses"


# --- reading the answer


def test_only_the_text_of_the_answer_is_the_answer() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "phase": "commentary", "content": [text_part("Let me see.")]},
        {"type": "message", "phase": "final_answer", "content": [text_part('{"results"'), text_part(": []}")]},
    ]
    response = answering("openai", body=a_response(output=output)).complete()
    assert (response.text, response.stop) == ('{"results": []}', StopReason.COMPLETE)


def test_a_null_that_only_strict_mode_asked_for_is_taken_out_of_the_answer() -> None:
    body = a_body("openai", '{"results":[{"n":1,"a":null},{"n":2,"a":"x"}]}')
    text = answering("openai", body=body).complete().text
    assert json.loads(text) == {"results": [{"n": 1}, {"n": 2, "a": "x"}]}


def test_a_refusal_has_no_text_and_the_models_words() -> None:
    body = a_response(text_part("I"), {"type": "refusal", "refusal": "I cannot\nhelp."})
    response = answering("openai", body=body).complete()
    assert (response.text, response.stop, response.refusal) == ("", StopReason.REFUSED, "I cannot help.")
    assert response.usage == TokenUsage(input_uncached=10, output=2)


@pytest.mark.parametrize(
    ("status", "reason", "stop"),
    [
        ("completed", None, StopReason.COMPLETE),
        ("incomplete", "max_output_tokens", StopReason.TRUNCATED),
        ("incomplete", "content_filter", StopReason.REFUSED),
        ("incomplete", None, StopReason.TRUNCATED),
        ("a status of next year", None, StopReason.COMPLETE),
    ],
)
def test_every_status_has_its_meaning(status: str, reason: str | None, stop: StopReason) -> None:
    body = a_response(text_part("{}"), status=status, incomplete_details=reason and {"reason": reason})
    response = answering("openai", body=body).complete()
    assert response.stop is stop
    assert (response.refusal is None) is (stop is not StopReason.REFUSED)


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled", "failed"])
def test_a_response_that_is_not_finished_is_no_answer(status: str) -> None:
    problem = error_of(answering("openai", body=a_response(text_part("{}"), status=status)))
    assert isinstance(problem, ProviderUnavailable)
    assert f"it is {status}" in str(problem)


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("server_error", ProviderUnavailable),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_prompt", RequestRejected),
        ("unheard_of", ProviderUnavailable),
    ],
)
def test_the_error_of_a_failed_response_is_an_error(code: str, ours: type[Exception]) -> None:
    body = a_response(status="failed", error={"code": code, "message": "no"})
    assert type(error_of(answering("openai", body=body))) is ours


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        pytest.param(None, {"input_uncached": 1000}, id="no details"),
        pytest.param({"cached_tokens": 600}, {"input_uncached": 400, "cache_read": 600}, id="read"),
        pytest.param(
            {"cached_tokens": None, "cache_write_tokens": 300},
            {"input_uncached": 700, "cache_write_5m": 300},
            id="written, no split",
        ),
        pytest.param(
            {
                "cached_tokens": 500,
                "cache_write_tokens": 300,
                "cache_write_tokens_details": {"ttl_30m_tokens": 100, "ttl_12h_tokens": 200},
            },
            {"input_uncached": 200, "cache_read": 500, "cache_write_5m": 100, "cache_write_1h": 200},
            id="all classes",
        ),
        pytest.param({"cached_tokens": 1100}, {"input_uncached": 0, "cache_read": 1100}, id="more read than told"),
    ],
)
def test_every_class_of_input_tokens_is_counted_once(details: Any, expected: dict[str, int]) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 7, "input_tokens_details": details}
    response = answering("openai", body=a_response(text_part("{}"), usage=usage)).complete()
    assert response.usage == TokenUsage(output=7, **expected)


def test_writes_without_a_split_have_the_lifetime_that_was_applied() -> None:
    usage = {"input_tokens": 9, "output_tokens": 7, "input_tokens_details": {"cache_write_tokens": 8}}
    body = a_response(text_part("{}"), usage=usage, prompt_cache_options={"mode": "explicit", "ttl": "12h"})
    assert answering("openai", body=body).complete().usage.cache_write_1h == 8


def test_the_request_id_is_the_headers() -> None:
    assert answering("openai", headers={"x-request-id": "req_7"}).complete().request_id == "req_7"
    assert answering("openai").complete().request_id is None


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"output": None}, id="no output"),
        pytest.param({"output": ["text"]}, id="output of strings"),
        pytest.param({"usage": None}, id="no usage"),
        pytest.param({"usage": {"input_tokens": 1}}, id="no output tokens"),
        pytest.param({"usage": {"input_tokens": -1, "output_tokens": 1}}, id="negative tokens"),
        pytest.param({"usage": {"input_tokens": True, "output_tokens": 1}}, id="tokens that are true"),
    ],
)
def test_json_that_is_no_response_is_nobodys_answer(members: dict[str, Any]) -> None:
    problem = error_of(answering("openai", body=a_response(text_part("{}"), **members)))
    assert isinstance(problem, ProviderUnavailable)
    assert "cannot be read" in str(problem)
