"""What the provider sends and how it reads what comes back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.adapters.anthropic import TOOL, AnthropicProvider
from tokenopt_pipeline.adapters.http_connections import SANDBOX_HEADER
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.outputs import Finding, decode_answer
from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline_tests.adapters.anthropic_exchange import (
    KEY,
    Exchange,
    a_message,
    a_tool_request,
    answering,
    error_of,
)
from tokenopt_pipeline_tests.factories import a_model, a_request

_SCHEMA = {
    "type": "object",
    "properties": {"results": {"type": "array", "items": {"type": "string"}}},
    "required": ["results"],
    "additionalProperties": False,
}
_UNSAYABLE = {"type": "object", "additionalProperties": {"type": "string"}}


def test_structured_output_is_asked_for_with_the_schema_in_the_output_format() -> None:
    exchange = answering()
    exchange.complete(a_request(output_schema=_SCHEMA))
    assert exchange.body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 512,
        "system": [{"type": "text", "text": "Extract."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "<blocks>"}]}],
        "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
    }


def test_a_model_without_structured_outputs_is_made_to_use_one_tool_once() -> None:
    exchange = answering()
    exchange.complete(a_tool_request(output_schema=_SCHEMA))
    assert exchange.body["tools"] == [
        {"name": TOOL, "description": "Record the results.", "input_schema": _SCHEMA},
    ]
    assert exchange.body["tool_choice"] == {"type": "tool", "name": TOOL, "disable_parallel_tool_use": True}
    assert "output_config" not in exchange.body


def test_a_schema_that_structured_outputs_cannot_express_is_left_to_the_words_of_the_prompt() -> None:
    exchange = answering()
    exchange.complete(a_request(output_schema=_UNSAYABLE))
    assert not {"output_config", "tools"} & set(exchange.body)


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_the_cache_mark_stands_at_the_end_of_the_system_part_and_nowhere_else(ttl: str) -> None:
    exchange = answering()
    exchange.complete(a_request(cache_ttl=ttl))
    assert exchange.body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": ttl}
    assert exchange.sent[0].content.count(b"cache_control") == 1


def test_thinking_is_sent_as_the_model_table_says_and_left_out_otherwise() -> None:
    exchange = answering()
    exchange.complete(a_request(model=a_model(thinking='{"type":"between_tools"}')))
    assert exchange.body["thinking"] == {"type": "between_tools"}
    exchange.complete(a_request())
    assert "thinking" not in exchange.body


@pytest.mark.parametrize("method", ["json_schema", "tool"])
def test_equal_requests_are_equal_bytes_whatever_the_order_of_the_schemas_keywords(method: str) -> None:
    """A schema read back from a database has its keywords in another order."""
    model = a_model(output_method=method)
    reordered = {key: _SCHEMA[key] for key in reversed(_SCHEMA)}
    one, other = a_request(model=model, output_schema=_SCHEMA), a_request(model=model, output_schema=reordered)
    bodies = set()
    for request in (one, other, one):
        exchange = answering()
        exchange.complete(request)
        bodies.add(exchange.sent[0].content)
    assert len(bodies) == 1


@pytest.mark.parametrize("method", ["json_schema", "tool"])
def test_properties_are_sent_in_their_own_order_which_is_the_order_of_the_answer(method: str) -> None:
    properties = {name: {"type": "string"} for name in ("quote", "reason", "answer")}
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    exchange = answering()
    exchange.complete(a_request(model=a_model(output_method=method), output_schema=schema))
    sent = exchange.sent[0].content
    assert sent.index(b'"quote":') < sent.index(b'"reason":') < sent.index(b'"answer":')


def test_the_timeout_reaches_the_http_library() -> None:
    exchange = answering()
    exchange.provider.complete(a_request(), timeout_s=7.5)
    assert exchange.sent[0].extensions["timeout"] == {"connect": 7.5, "read": 7.5, "write": 7.5, "pool": 7.5}


def test_many_output_tokens_are_asked_for_without_streaming() -> None:
    assert answering().complete(a_request(max_tokens=128_000)).stop is StopReason.COMPLETE


def test_eight_threads_share_one_client_and_each_gets_its_own_answer() -> None:
    def echo(request: httpx2.Request) -> httpx2.Response:
        text = json.loads(request.content)["messages"][0]["content"][0]["text"]
        return httpx2.Response(200, json=a_message(content=[{"type": "text", "text": text}]))

    exchange = Exchange(echo)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: exchange.complete(a_request(user=f"block {i}")).text, range(64)))
    assert answers == [f"block {i}" for i in range(64)]
    assert len(exchange.sent) == 64


def test_the_key_of_the_environment_is_used_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    exchange = Exchange(lambda _: httpx2.Response(200, json=a_message()), api_key=None)
    exchange.complete()
    assert exchange.sent[0].headers["authorization"] == f"Bearer {KEY}"


def test_an_empty_base_url_in_the_environment_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "")
    exchange = Exchange(lambda _: httpx2.Response(200, json=a_message()), base_url=None)
    exchange.complete()
    assert str(exchange.sent[0].url) == "https://api.anthropic.com/v1/messages"


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with running_sandbox() as sandbox:
        provider = AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url)
        assert provider.complete(a_request(), timeout_s=20).simulated


# --- reading the answer


def test_an_answer_after_thinking_blocks_is_the_text_alone() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": '{"results"'},
        {"type": "text", "text": ": []}"},
    ]
    response = answering(body=a_message(content=content)).complete()
    assert (response.text, response.stop) == ('{"results": []}', StopReason.COMPLETE)


def test_a_tools_input_is_the_answer_and_the_words_around_it_are_not() -> None:
    content = [
        {"type": "text", "text": "Recording."},
        {"type": "tool_use", "id": "t", "name": TOOL, "input": {"results": [{"n": 1, "a": "Größe"}]}},
    ]
    response = answering(body=a_message(content=content, stop_reason="tool_use")).complete(a_tool_request())
    assert (response.text, response.stop) == ('{"results": [{"n": 1, "a": "Größe"}]}', StopReason.COMPLETE)


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        pytest.param({"results": [{"n": 1, "a": "whole"}, {"n": 2, "a": "cut he"}]}, 1, id="cut in a text"),
        pytest.param({"results": [{"n": 1, "a": "whole"}, {"n": 2}]}, 1, id="cut before a field"),
        pytest.param({"results": []}, 0, id="cut before the first entry"),
        pytest.param({}, 0, id="cut before the array"),
    ],
)
def test_the_last_entry_of_a_truncated_tools_input_is_not_taken_for_a_whole_one(
    given: dict[str, Any], whole: int
) -> None:
    content = [{"type": "tool_use", "id": "t", "name": TOOL, "input": given}]
    response = answering(body=a_message(content=content, stop_reason="max_tokens")).complete(a_tool_request())
    answer = decode_answer(response.text, stop=response.stop, asked=2, ordinal_key="n", violation=lambda _: None)
    findings = [output.finding for output in answer.outputs]
    assert findings == [Finding.VALID] * whole + [Finding.TRUNCATED] * (2 - whole)


@pytest.mark.parametrize(
    ("said", "stop"),
    [
        ("end_turn", StopReason.COMPLETE),
        ("stop_sequence", StopReason.COMPLETE),
        ("tool_use", StopReason.COMPLETE),
        ("max_tokens", StopReason.TRUNCATED),
        ("model_context_window_exceeded", StopReason.TRUNCATED),
        ("pause_turn", StopReason.TRUNCATED),
        ("refusal", StopReason.REFUSED),
        ("a reason of next year", StopReason.COMPLETE),
    ],
)
def test_every_stop_reason_has_its_meaning(said: str, stop: StopReason) -> None:
    assert answering(body=a_message(stop_reason=said)).complete().stop is stop


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "This could\nharm."}, "This could harm."),
        ({"type": "refusal", "category": "bio", "explanation": None}, "bio"),
        ({"type": "refusal", "category": None, "explanation": None}, "refused"),
        (None, "refused"),
    ],
)
def test_a_refusal_has_no_text_and_the_providers_words(details: dict[str, Any] | None, words: str) -> None:
    response = answering(body=a_message(stop_reason="refusal", stop_details=details)).complete()
    assert (response.text, response.refusal) == ("", words)
    assert response.usage == TokenUsage(input_uncached=10, output=2)


def test_an_answer_that_is_no_refusal_has_no_words_of_refusal() -> None:
    assert answering().complete().refusal is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('```json\n{"results": []}\n```', '{"results": []}'),
        ('```\n{"results": []}\n```\n', '{"results": []}'),
        ('```json {"results": []}```', '{"results": []}'),
        ('```json\n{"results": [{"n": 1', '{"results": [{"n": 1'),
        (' {"results": []}\n', ' {"results": []}\n'),
        ('{"results": [{"n": 1, "a": "```"}]}', '{"results": [{"n": 1, "a": "```"}]}'),
    ],
)
def test_a_markdown_fence_around_the_answer_is_taken_off_whole_or_cut(text: str, read: str) -> None:
    assert answering(body=a_message(content=[{"type": "text", "text": text}])).complete().text == read


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param({}, {}, id="no cache fields"),
        pytest.param(
            {"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "cache_creation": None},
            {},
            id="null cache fields",
        ),
        pytest.param({"cache_read_input_tokens": 900}, {"cache_read": 900}, id="read"),
        pytest.param({"cache_creation_input_tokens": 70}, {"cache_write_5m": 70}, id="written, no split"),
        pytest.param(
            {
                "cache_creation_input_tokens": 70,
                "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 40},
            },
            {"cache_write_5m": 30, "cache_write_1h": 40},
            id="written, split",
        ),
        pytest.param(
            {"cache_creation": {"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": 40}},
            {"cache_write_1h": 40},
            id="a split without a sum",
        ),
    ],
)
def test_every_class_of_input_tokens_is_counted_once(members: dict[str, Any], expected: dict[str, int]) -> None:
    usage = {"input_tokens": 10, "output_tokens": 2, **members}
    assert answering(body=a_message(usage=usage)).complete().usage == TokenUsage(
        input_uncached=10, output=2, **expected
    )


def test_the_sandbox_header_alone_makes_an_answer_simulated() -> None:
    assert answering(headers={SANDBOX_HEADER: "1"}).complete().simulated
    assert not answering().complete().simulated


def test_the_request_id_is_the_headers() -> None:
    assert answering(headers={"request-id": "req_7"}).complete().request_id == "req_7"
    assert answering().complete().request_id is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="a list"),
        pytest.param("text", id="a string"),
        pytest.param({}, id="an empty object"),
        pytest.param(a_message(content="text"), id="content that is text"),
        pytest.param(a_message(content=["text"]), id="content of strings"),
        pytest.param(a_message(usage=None) | {"usage": None}, id="no usage"),
        pytest.param(a_message(usage={"input_tokens": 1}), id="no output tokens"),
        pytest.param(a_message(usage={"input_tokens": "1", "output_tokens": 1}), id="tokens that are text"),
        pytest.param(a_message(usage={"input_tokens": -1, "output_tokens": 1}), id="negative tokens"),
    ],
)
def test_json_that_is_no_message_is_nobodys_answer(body: Any) -> None:
    problem = error_of(Exchange(lambda _: httpx2.Response(200, content=json.dumps(body).encode())))
    assert isinstance(problem, ProviderUnavailable)
    assert "cannot be read" in str(problem)
