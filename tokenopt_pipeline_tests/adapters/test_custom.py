"""An OpenAI-compatible server: what is sent, what is learned from its refusals, how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.domain.errors import (
    ContextWindowExceeded,
    ModelUnknown,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)
from tokenopt_pipeline.domain.providers import Capability
from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.adapters.provider_exchange import (
    KEY,
    Exchange,
    a_body,
    a_request_to,
    answering,
    error_of,
)

_UNSAYABLE = {"type": "object", "additionalProperties": {"type": "string"}}


def refusing(refused: Callable[[dict[str, Any]], tuple[int, Any] | None], **provider: Any) -> Exchange:
    """A server that refuses some bodies with a status and JSON, or text."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        refusal = refused(json.loads(request.content))
        if refusal is None:
            return httpx2.Response(200, json=a_body("custom"))
        status, said = refusal
        return httpx2.Response(status, text=said) if isinstance(said, str) else httpx2.Response(status, json=said)

    return Exchange("custom", answer, **provider)


def formats(exchange: Exchange) -> list[str | None]:
    return [body.get("response_format", {}).get("type") for body in exchange.bodies]


def test_nothing_is_sent_but_what_every_such_server_knows() -> None:
    exchange = answering("custom")
    exchange.complete(a_request_to("custom", cache_ttl="5m"))
    assert str(exchange.sent[0].url) == "http://provider.test/chat/completions"
    assert set(exchange.body) == {"model", "messages", "max_tokens", "response_format"}
    assert exchange.body["messages"] == [
        {"role": "system", "content": "Extract."},
        {"role": "user", "content": "<blocks>"},
    ]
    schema = exchange.body["response_format"]["json_schema"]
    assert (schema["name"], schema["strict"]) == ("results", True)


def test_what_makes_the_model_think_least_is_added_to_the_request() -> None:
    exchange = answering("custom")
    exchange.complete(a_request_to("custom", thinking='{"chat_template_kwargs":{"enable_thinking":false}}'))
    assert exchange.body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("declared", "asked"), [("json_schema", "json_schema"), ("json_object", "json_object"), ("prompt_only", None)]
)
def test_a_declared_capability_is_what_is_asked_for(declared: str, asked: str | None) -> None:
    exchange = Exchange("custom", lambda _: httpx2.Response(200, json=a_body("custom")), capability=declared)
    exchange.complete()
    assert formats(exchange) == [asked]


def test_a_capability_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="telepathy"):
        CustomProvider(base_url="http://provider.test", capability="telepathy")


def test_a_schema_that_cannot_be_said_asks_for_some_json() -> None:
    exchange = answering("custom")
    exchange.complete(a_request_to("custom", output_schema=_UNSAYABLE))
    assert formats(exchange) == ["json_object"]


_REFUSALS = [
    pytest.param((400, {"error": {"message": "'response_format.type' must be 'text'"}}), id="400"),
    pytest.param((400, {"error": "'response_format.type' must be 'text'"}), id="error that is text"),
    pytest.param((400, "unknown field response_format"), id="no JSON"),
    pytest.param((422, {"detail": [{"loc": ["body", "response_format"], "msg": "no"}]}), id="422 with a path"),
    pytest.param((500, {"error": {"message": "response_format type must be one of text"}}), id="500"),
]


@pytest.mark.parametrize("refusal", _REFUSALS)
def test_a_refused_format_lowers_the_rung_for_good(refusal: tuple[int, Any]) -> None:
    exchange = refusing(lambda body: refusal if body.get("response_format", {}).get("type") == "json_schema" else None)
    assert exchange.complete().stop is StopReason.COMPLETE
    exchange.complete()
    assert formats(exchange) == ["json_schema", "json_object", "json_object"]
    assert isinstance(exchange.provider, CustomProvider)
    assert exchange.provider.capability is Capability.JSON_OBJECT


def test_a_server_that_knows_no_format_is_asked_in_words_alone() -> None:
    exchange = refusing(lambda body: (400, "response_format?") if "response_format" in body else None)
    exchange.complete()
    exchange.complete()
    assert formats(exchange) == ["json_schema", "json_object", None, None]


def test_a_declared_capability_is_never_lowered() -> None:
    exchange = refusing(lambda _: (400, "response_format?"), capability="json_schema")
    assert isinstance(error_of(exchange), RequestRejected)
    assert formats(exchange) == ["json_schema"]


def test_a_server_that_refuses_everything_is_asked_once_per_rung() -> None:
    exchange = refusing(lambda _: (400, "response_format?"))
    assert isinstance(error_of(exchange), RequestRejected)
    assert formats(exchange) == ["json_schema", "json_object", None]


@pytest.mark.parametrize("said", ["bad temperature", "max_tokens must be at most 4096"])
def test_a_400_about_something_else_lowers_nothing(said: str) -> None:
    exchange = refusing(lambda _: (400, {"error": {"message": said}}))
    assert isinstance(error_of(exchange), RequestRejected)
    assert len(exchange.sent) == 1


def test_a_rate_limit_that_names_the_format_lowers_nothing() -> None:
    exchange = refusing(lambda _: (429, "response_format requests are limited"))
    assert isinstance(error_of(exchange), RateLimited)
    assert len(exchange.sent) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}},
        {"error": {"message": "Extra inputs are not permitted: max_tokens"}},
        "unknown field max_tokens",
    ],
    ids=str,
)
def test_the_other_name_of_the_output_limit_is_learned_for_good(said: Any) -> None:
    exchange = refusing(lambda body: (400, said) if "max_tokens" in body else None)
    exchange.complete()
    exchange.complete()
    assert ["max_tokens" in body for body in exchange.bodies] == [True, False, False]
    assert exchange.body["max_completion_tokens"] == 512


def test_both_lessons_can_be_learned_in_one_call() -> None:
    def refused(body: dict[str, Any]) -> tuple[int, Any] | None:
        if "max_tokens" in body:
            return 400, "use max_completion_tokens"
        return (400, "response_format") if body.get("response_format", {}).get("type") == "json_schema" else None

    exchange = refusing(refused)
    exchange.complete()
    assert formats(exchange) == ["json_schema", "json_schema", "json_object"]


def test_a_request_that_is_too_long_teaches_nothing() -> None:
    said = "'max_tokens' or 'max_completion_tokens' is too large. This model's maximum context length is 4096 tokens."
    exchange = refusing(lambda _: (400, {"error": {"message": said, "code": 400}}))
    assert isinstance(error_of(exchange), ContextWindowExceeded)
    assert len(exchange.sent) == 1


def test_eight_threads_lower_the_rung_once() -> None:
    exchange = refusing(
        lambda body: (400, "response_format") if body.get("response_format", {}).get("type") == "json_schema" else None
    )
    with ThreadPoolExecutor(8) as pool:
        stops = list(pool.map(lambda _: exchange.complete().stop, range(32)))
    assert stops == [StopReason.COMPLETE] * 32
    assert isinstance(exchange.provider, CustomProvider)
    assert exchange.provider.capability is Capability.JSON_OBJECT


def test_what_the_environment_holds_for_openai_is_not_sent_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, f"{name}-not-for-you")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-mine: not-for-you\nauthorization: Bearer not-for-you")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://not-for-you.test")
    for key in (None, KEY):
        exchange = Exchange("custom", lambda _: httpx2.Response(200, json=a_body("custom")), api_key=key)
        exchange.complete()
        assert "not-for-you" not in str(exchange.sent[0].headers.raw) + str(exchange.sent[0].url)
        assert exchange.sent[0].headers.get("authorization") == (key and f"Bearer {key}")


# --- reading the answer


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('```json\n{"results": []}\n```', '{"results": []}'),
        ('<think>Hm, {"a": 1}?</think>\n\n{"results": []}', '\n\n{"results": []}'),
        ('<think>\n\n</think>```json\n{"results": []}\n```', '{"results": []}'),
        ('{"results": [{"n": 1, "a": "<think>x</think>"}]}', '{"results": [{"n": 1, "a": "<think>x</think>"}]}'),
    ],
)
def test_what_stands_around_the_answer_is_taken_off(text: str, read: str) -> None:
    assert answering("custom", body=a_body("custom", text)).complete().text == read


def test_a_null_that_only_the_strict_schema_asked_for_is_taken_out_of_the_answer() -> None:
    body = a_body("custom", '{"results":[{"n":1,"a":null}]}')
    assert json.loads(answering("custom", body=body).complete().text) == {"results": [{"n": 1}]}
    lower = Exchange("custom", lambda _: httpx2.Response(200, json=body), capability="json_object")
    assert json.loads(lower.complete().text) == {"results": [{"n": 1, "a": None}]}


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("stop", StopReason.COMPLETE),
        ("length", StopReason.TRUNCATED),
        ("content_filter", StopReason.REFUSED),
        ("eos", StopReason.COMPLETE),
        (None, StopReason.COMPLETE),
    ],
)
def test_every_finish_reason_has_its_meaning(said: str | None, stop: StopReason) -> None:
    body = a_body("custom")
    body["choices"][0]["finish_reason"] = said
    assert answering("custom", body=body).complete().stop is stop


def test_a_refusal_has_no_text_and_the_models_words() -> None:
    body = a_body("custom")
    body["choices"][0]["message"] = {"content": None, "refusal": "I cannot\nhelp."}
    response = answering("custom", body=body).complete()
    assert (response.text, response.stop, response.refusal) == ("", StopReason.REFUSED, "I cannot help.")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param({"prompt_tokens": 9, "completion_tokens": 2}, {"input_uncached": 9, "output": 2}, id="no details"),
        pytest.param({"prompt_tokens": 9}, {"input_uncached": 9}, id="nothing written"),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None},
            {"input_uncached": 9, "output": 2},
            id="null details",
        ),
        pytest.param(
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}},
            {"input_uncached": 2, "cache_read": 4, "cache_write_5m": 3},
            id="cached and written",
        ),
    ],
)
def test_usage_is_read_with_and_without_details(usage: dict[str, Any], expected: dict[str, int]) -> None:
    assert answering("custom", body={**a_body("custom"), "usage": usage}).complete().usage == TokenUsage(**expected)


@pytest.mark.parametrize(
    "members",
    [{"choices": []}, {"choices": None}, {"choices": ["x"]}, {"usage": None}, {"usage": {"prompt_tokens": "9"}}],
    ids=str,
)
def test_json_that_is_no_completion_is_nobodys_answer(members: dict[str, Any]) -> None:
    problem = error_of(answering("custom", body={**a_body("custom"), **members}))
    assert isinstance(problem, ProviderUnavailable)
    assert "custom: the response cannot be read" in str(problem)


def test_a_404_page_of_another_server_asks_about_the_base_url() -> None:
    problem = error_of(answering("custom", 404, html="<html><body>nginx</body></html>"))
    assert isinstance(problem, ModelUnknown)
    assert str(problem) == "custom answered 404: no message; does the base URL lead to this API?"


def test_an_error_without_a_wrapper_is_an_error_of_the_server() -> None:
    body = {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}
    problem = error_of(answering("custom", 404, body=body))
    assert isinstance(problem, ModelUnknown)
    assert str(problem) == "custom answered 404: The model `x` does not exist."
