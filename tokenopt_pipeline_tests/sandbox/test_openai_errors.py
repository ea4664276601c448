"""What OpenAI refuses and how it fails, met through the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import pack_text
from .asking_openai import MODEL, ask, client_of, message, results, text_format

Found = tuple[int, str | None, str | None]


@pytest.fixture
def openai_client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with client_of(sandbox) as client:
        yield client


def spoil(sandbox: Sandbox, fault: str, **plan: Any) -> None:
    sandbox.control.set_faults({"scripted": [{"nth_request": 1, "fault": fault}], **plan})


def refused(client: openai.OpenAI, **more: Any) -> Found:
    """Status, code and parameter of the refusal."""
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **more)
    return caught.value.status_code, caught.value.code, caught.value.param


@pytest.mark.parametrize(
    ("fault", "error", "found"),
    [
        ("rate_limit_429", openai.RateLimitError, (429, "rate_limit_exceeded")),
        ("spend_limit_429", openai.RateLimitError, (429, "insufficient_quota")),
        ("overloaded_529", openai.InternalServerError, (503, "server_is_overloaded")),
        ("server_error_500", openai.InternalServerError, (500, "server_error")),
        ("usage_limit_400", openai.BadRequestError, (400, "billing_hard_limit_reached")),
    ],
)
def test_a_failed_call_raises_what_the_sdk_raises_for_the_real_one(
    openai_client: openai.OpenAI,
    sandbox: Sandbox,
    fault: str,
    error: type[openai.APIStatusError],
    found: tuple[int, str],
) -> None:
    spoil(sandbox, fault, retry_after_s=7)
    with pytest.raises(error) as caught:
        ask(openai_client)
    assert (caught.value.status_code, caught.value.code) == found
    assert caught.value.response.headers.get("retry-after") == ("7" if fault == "rate_limit_429" else None)
    assert sandbox.control.stats()["calls"] == 0
    assert len(results(ask(openai_client))) == 3  # the retry succeeds


def test_a_reset_connection_is_a_connection_error(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    spoil(sandbox, "connection_reset")
    with pytest.raises(openai.APIConnectionError):
        ask(openai_client)
    assert sandbox.control.stats()["by_status"] == {"reset": 1}


def test_a_refusal_is_a_part_of_the_answer(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    spoil(sandbox, "refuse")
    response = ask(openai_client)
    assert response.status == "completed"
    last = response.output[-1]
    assert last.type == "message"
    assert [part.type for part in last.content] == ["refusal"]
    assert sandbox.control.stats()["by_stop_reason"] == {"refusal": 1}


def test_a_filter_leaves_the_answer_incomplete(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    spoil(sandbox, "block_prompt")
    response = ask(openai_client)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "content_filter"


def test_a_truncation_stops_inside_the_answer(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    whole = ask(openai_client).output_text
    spoil(sandbox, "truncate")
    response = ask(openai_client)
    assert response.status == "incomplete"
    assert whole.startswith(response.output_text)
    assert len(response.output_text) < len(whole)


@pytest.mark.parametrize("fault", ["malformed", "prose"])
def test_an_answer_can_be_no_json(sandbox: Sandbox, openai_client: openai.OpenAI, fault: str) -> None:
    spoil(sandbox, fault)
    with pytest.raises(ValueError):
        json.loads(ask(openai_client).output_text)


@pytest.mark.parametrize(("fault", "count"), [("drop_block", 2), ("repeat_block", 4), ("unknown_block", 4)])
def test_blocks_go_missing_or_come_twice(
    sandbox: Sandbox, openai_client: openai.OpenAI, fault: str, count: int
) -> None:
    spoil(sandbox, fault)
    assert len(results(ask(openai_client))) == count


def test_a_text_inside_a_block_can_be_poison(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    script: dict[str, Any] = {"when_text_contains": 'says "poison"', "fault": "server_error_500", "times": None}
    sandbox.control.set_faults({"scripted": [script]})
    assert (
        refused(openai_client, input=[message("developer", "x"), message("user", pack_text('It says "poison".'))])[0]
        == 500
    )
    assert len(results(ask(openai_client, "harmless"))) == 1


@pytest.mark.parametrize(
    ("key", "error", "code"),
    [
        ("invalid-key", openai.AuthenticationError, "invalid_api_key"),
        ("restricted-key", openai.PermissionDeniedError, "missing_scope"),
    ],
)
def test_a_key_can_be_wrong(sandbox: Sandbox, key: str, error: type[openai.APIStatusError], code: str) -> None:
    with client_of(sandbox, key) as client, pytest.raises(error) as caught:
        ask(client)
    assert caught.value.code == code


def with_property(node: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {"n": {"type": "integer"}, "x": node}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param({"type": "array", "items": {"type": "string"}}, "got 'type: \"array\"'", id="root is no object"),
        pytest.param({"anyOf": [{"type": "object"}]}, "at the top level", id="root is a union"),
        pytest.param(
            with_property({"type": "string"}, required=["n"]),
            "In context=(), 'required' is required to be supplied and to be an array including every key in properties."
            " Missing 'x'.",
            id="optional property",
        ),
        pytest.param(
            with_property({"type": "object", "properties": {}, "required": []}),
            "In context=('properties', 'x'), 'additionalProperties' is required to be supplied and to be false.",
            id="open object",
        ),
        pytest.param(with_property({"allOf": [{"type": "string"}]}), "'allOf' is not permitted", id="allOf"),
        pytest.param(with_property({"type": "string", "minLength": 1}), "'minLength' is not permitted", id="minLength"),
        pytest.param(with_property({"type": "string", "default": "a"}), "'default' is not permitted", id="default"),
        pytest.param(with_property({"type": "string", "format": "uri"}), "not a valid format", id="format"),
        pytest.param(with_property({}), "must have a 'type' key", id="no type"),
        pytest.param(with_property({"type": "array"}), "array schema missing items", id="no items"),
        pytest.param(with_property({"$ref": "#/$defs/a", "title": "b"}), "$ref cannot have keywords", id="ref sibling"),
        pytest.param(with_property({"$ref": "#/$defs/a"}), "reference can only point to", id="dangling ref"),
        pytest.param(
            with_property({"type": "string", "enum": [str(n) for n in range(1001)]}), "1000 enum values", id="enum"
        ),
    ],
)
def test_strict_mode_refuses_what_it_cannot_keep(
    openai_client: openai.OpenAI, schema: dict[str, Any], words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(openai_client, text=text_format(schema))
    assert words in str(caught.value)
    assert "Invalid schema for response_format 'results': " in str(caught.value)
    assert (caught.value.code, caught.value.param) == ("invalid_json_schema", "text.format.schema")


def test_without_strict_the_same_schema_is_taken(openai_client: openai.OpenAI) -> None:
    loose = text_format(with_property({"type": "string", "minLength": 1}, required=["n"]))
    loose["format"]["strict"] = False
    assert ask(openai_client, text=loose).status == "completed"


def test_nesting_beyond_ten_levels_is_refused(openai_client: openai.OpenAI) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(10):
        schema = with_property(schema)
    assert ask(openai_client, text=text_format(schema)).status == "completed"
    assert refused(openai_client, text=text_format(with_property(schema)))[1] == "invalid_json_schema"


def test_recursion_and_definitions_are_taken(openai_client: openai.OpenAI) -> None:
    node = with_property({"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    schema = {**with_property({"$ref": "#/$defs/node"}), "$defs": {"node": node}}
    assert isinstance(json.loads(ask(openai_client, text=text_format(schema)).output_text), dict)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"model": "gpt-nobody"}, (400, "model_not_found", "model")),
        ({"input": []}, (400, "empty_array", "input")),
        ({"input": [{"role": "nobody", "content": "a"}]}, (400, "invalid_value", "input[0].role")),
        ({"max_output_tokens": 1}, (400, "integer_below_min_value", "max_output_tokens")),
        ({"max_output_tokens": 10**9}, (400, "integer_above_max_value", "max_output_tokens")),
        ({"temperature": -1}, (400, "decimal_below_min_value", "temperature")),
        ({"reasoning": {"effort": "total"}}, (400, "invalid_value", "reasoning.effort")),
        ({"extra_body": {"max_tokens": 5}}, (400, "unknown_parameter", "max_tokens")),
        ({"previous_response_id": "resp_1"}, (400, "previous_response_not_found", "previous_response_id")),
        ({"background": True}, (400, "unsupported_parameter", "background")),
        ({"input": "a" * 4 * 922_004}, (400, "context_length_exceeded", "input")),
    ],
)
def test_a_bad_request_names_its_fault(openai_client: openai.OpenAI, more: dict[str, Any], found: Found) -> None:
    assert refused(openai_client, **more) == found


def test_what_is_not_there_is_404(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve("gpt-nobody")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])


def test_bodies_beyond_the_limit_are_refused() -> None:
    with running_sandbox(SandboxConfig(max_body_bytes=2000)) as sandbox, client_of(sandbox) as client:
        assert refused(client, input="a" * 3000)[0] == 413


def test_requests_beyond_the_minutes_limit_are_refused_with_a_retry_after() -> None:
    with running_sandbox(SandboxConfig(requests_per_minute=1)) as sandbox, client_of(sandbox) as client:
        ask(client)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
