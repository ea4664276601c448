"""What the Messages API refuses, as the real SDK reports it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import MODEL, OLD_MODEL, TEXTS, ask, client_of, json_format, pack_schema, pack_text

USER: dict[str, Any] = {"role": "user", "content": "hello"}
TOOL: dict[str, Any] = {"name": "record", "input_schema": {"type": "object", "properties": {}}}
MARK: dict[str, Any] = {"type": "ephemeral"}
HOUR: dict[str, Any] = {"type": "ephemeral", "ttl": "1h"}


def marked(control: dict[str, Any], text: str = "t") -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": control}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"max_tokens": 128_001}, "128001 > 128000, which is the maximum", id="max_tokens"),
        pytest.param({"messages": []}, "at least one message", id="no messages"),
        pytest.param({"messages": [{"role": "user", "content": ""}]}, "non-empty content", id="empty message"),
        pytest.param({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role", id="role"),
        pytest.param(
            {"messages": [USER, {"role": "assistant", "content": "{"}]}, "assistant message prefill", id="prefill"
        ),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.type.enabled", id="budget"),
        pytest.param(
            {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}},
            '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive"',
            id="thinking always on",
        ),
        pytest.param(
            {"model": "claude-sonnet-5-5", "thinking": {"type": "disabled"}}, "between_tools", id="between tools"
        ),
        pytest.param(
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, "effort level", id="off at max"
        ),
        pytest.param(
            {"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}},
            "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.",
            id="effort",
        ),
        pytest.param(
            {"model": "claude-sonnet-5-5", "tools": [TOOL], "tool_choice": {"type": "any"}},
            "not supported for this model",
            id="forced tool",
        ),
        pytest.param({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "not found", id="absent tool"),
        pytest.param({"tools": [TOOL, TOOL]}, "Tool names must be unique", id="tool twice"),
        pytest.param(
            {"tools": [{"name": "x", "input_schema": {"type": "string"}}]}, "input_schema.type", id="tool type"
        ),
        pytest.param(
            {"tools": [{"name": "x", "input_schema": {"type": "object", "properties": {"a": {"type": "strin"}}}}]},
            "JSON schema is invalid",
            id="tool schema",
        ),
        pytest.param(
            {"tools": [{"name": "x", "strict": True, "input_schema": {"type": "object", "properties": {}}}]},
            "tools.0.custom: For 'object' type",
            id="strict tool",
        ),
        pytest.param(
            {"output_config": json_format({"type": "object", "properties": {}})},
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be",
            id="format schema",
        ),
        pytest.param({"system": [marked(MARK)] * 5}, "A maximum of 4 blocks with cache_control", id="breakpoints"),
        pytest.param(
            {"system": [marked(MARK)] * 4, "cache_control": MARK}, "Found 5", id="breakpoints with the automatic one"
        ),
        pytest.param({"system": [marked(MARK), marked(HOUR)]}, "must not come after a ttl='5m'", id="ttl order"),
        pytest.param(
            {"cache_control": HOUR, "messages": [{"role": "user", "content": [marked(MARK)]}]}, "conflicts", id="ttl"
        ),
        pytest.param({"extra_body": {"temperature": 1.0}}, "temperature: Extra inputs", id="temperature"),
        pytest.param({"extra_body": {"top_k": 5}}, "top_k: Extra inputs", id="top_k"),
        pytest.param({"extra_body": {"nonsense": 1}}, "nonsense: Extra inputs are not permitted", id="unknown field"),
    ],
)
def test_what_the_real_api_refuses_is_refused(client: anthropic.Anthropic, change: dict[str, Any], says: str) -> None:
    request: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": [USER], **change}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(**request)
    assert refused.value.type == "invalid_request_error"
    assert says in str(refused.value.api_message)


@pytest.mark.parametrize("missing", ["max_tokens", "messages", "model"])
def test_a_missing_field_is_named(sandbox: Sandbox, missing: str) -> None:
    fields = {"model": MODEL, "max_tokens": 10, "messages": [USER]}
    del fields[missing]
    assert raw_error(sandbox, json.dumps(fields).encode()) == (400, f"{missing}: Field required")


def test_a_body_that_is_not_json_is_refused(sandbox: Sandbox) -> None:
    status, message = raw_error(sandbox, b"{")
    assert status == 400
    assert "not valid JSON" in message


def test_the_version_header_is_required(sandbox: Sandbox) -> None:
    body = json.dumps({"model": MODEL, "max_tokens": 10, "messages": [USER]}).encode()
    assert raw_error(sandbox, body, {"x-api-key": "k"}) == (400, "anthropic-version: header is required")


def test_a_missing_key_is_refused(sandbox: Sandbox) -> None:
    assert raw_error(sandbox, b"{}", {"anthropic-version": "2023-06-01"}) == (401, "x-api-key header is required")


def test_an_invalid_key_is_refused(sandbox: Sandbox) -> None:
    with client_of(sandbox, "invalid-123") as client, pytest.raises(anthropic.AuthenticationError) as refused:
        ask(client)
    assert refused.value.type == "authentication_error"


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    for call in (lambda: ask(client, model="claude-nobody"), lambda: client.models.retrieve("claude-nobody")):
        with pytest.raises(anthropic.NotFoundError) as refused:
            call()
        assert refused.value.api_message == "model: claude-nobody"


def test_an_unknown_path_is_not_found(sandbox: Sandbox) -> None:
    assert raw_error(sandbox, b"{}", path="/v1/nothing") == (404, "Not Found")


def test_a_prompt_beyond_the_window_is_refused_with_both_figures(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(client, "x" * 800_100, model=OLD_MODEL, output_config={})
    message = str(refused.value.api_message)
    assert message.startswith("prompt is too long: 2000")
    assert message.endswith("tokens > 200000 maximum")


def test_a_body_beyond_the_limit_in_bytes_is_refused() -> None:
    with running_sandbox(SandboxConfig(max_body_bytes=2000)) as sandbox, client_of(sandbox) as client:
        with pytest.raises(anthropic.APIStatusError) as refused:
            ask(client, "x" * 3_000_000)
        assert refused.value.status_code == 413
        assert isinstance(refused.value, anthropic.ContentTooLargeError | anthropic.RequestTooLargeError)


def test_sampling_is_taken_by_old_models_under_the_old_version(sandbox: Sandbox) -> None:
    with client_of(sandbox, default_headers={"anthropic-version": "2023-06-01"}) as client:
        assert ask(client, model=OLD_MODEL, extra_body={"temperature": 0.0}).stop_reason == "end_turn"
        with pytest.raises(anthropic.BadRequestError, match="deprecated for this model"):
            ask(client, model=MODEL, extra_body={"temperature": 0.0})


def test_old_models_take_a_prefill(client: anthropic.Anthropic) -> None:
    messages: list[Any] = [USER, {"role": "assistant", "content": "{"}]
    assert ask(client, model=OLD_MODEL, messages=messages, output_config={}).stop_reason == "end_turn"


def test_counting_needs_no_max_tokens_but_knows_its_models(client: anthropic.Anthropic) -> None:
    messages: list[Any] = [{"role": "user", "content": pack_text(*TEXTS)}]
    assert client.messages.count_tokens(model=MODEL, messages=messages).input_tokens > 0
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="claude-nobody", messages=messages)


def test_a_warm_up_without_output_is_answered_and_with_a_format_refused(client: anthropic.Anthropic) -> None:
    message = ask(client, max_tokens=0, output_config={})
    assert (message.content, message.stop_reason, message.usage.output_tokens) == ([], "max_tokens", 0)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens: 0 is not supported"):
        ask(client, max_tokens=0, output_config=json_format(pack_schema()))


def raw_error(
    sandbox: Sandbox, body: bytes, headers: dict[str, str] | None = None, path: str = "/v1/messages"
) -> tuple[int, str]:
    """Status and message of a request the SDK would not let out."""
    given = {"x-api-key": "k", "anthropic-version": "2026-10-21"} if headers is None else headers
    request = urllib.request.Request(f"{sandbox.anthropic_url}{path}", data=body, headers=given, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    with refused.value as answer:
        envelope = json.load(answer)
        assert envelope["type"] == "error"
        assert envelope["request_id"] == answer.headers["request-id"]
        return answer.code, envelope["error"]["message"]
