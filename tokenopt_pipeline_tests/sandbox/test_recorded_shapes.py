"""Our responses beside recorded ones: every key real answers always have, ours have, with the same JSON type."""

from __future__ import annotations

import gzip
import json
import re
import statistics
from collections.abc import Iterator
from functools import cache
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.sandbox.tokens import HiddenPrompt, tokens_of_chars

from .asking import MODEL, OLD_MODEL, TEXTS, ask, client_of, pack_schema, pack_text, shared


@cache
def recordings() -> tuple[dict[str, Any], ...]:
    with gzip.open(shared("data/wire/anthropic.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def recorded_messages() -> list[dict[str, Any]]:
    return [
        record["response_body"]
        for record in recordings()
        if (record["endpoint"], record["status"], record["response_kind"]) == ("POST /v1/messages", 200, "json")
    ]


def kind(value: Any) -> str:
    return {int: "number", float: "number", bool: "boolean", str: "string", dict: "object", list: "array"}.get(
        type(value), "null"
    )


def always(objects: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Key -> JSON types, for the keys every one of `objects` has."""
    keys = set.intersection(*(set(found) for found in objects))
    return {key: {kind(found[key]) for found in objects} for key in keys}


def assert_covers(ours: dict[str, Any], recorded: list[dict[str, Any]]) -> None:
    expected = always(recorded)
    assert expected
    for key, kinds in expected.items():
        assert key in ours, key
        assert kind(ours[key]) in kinds, (key, kinds, ours[key])


@pytest.fixture
def ours(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    with client_of(sandbox) as client:
        yield json.loads(ask(client, model=OLD_MODEL).model_dump_json(exclude_unset=True))


def test_the_message_object_has_the_keys_of_recorded_ones(ours: dict[str, Any]) -> None:
    assert_covers(ours, recorded_messages())


def test_recent_recordings_add_no_key_we_lack(ours: dict[str, Any]) -> None:
    recent = [message for message in recorded_messages() if "stop_details" in message]
    assert_covers(ours, recent)
    assert_covers(ours["usage"], [message["usage"] for message in recent])
    detailed = [message["usage"] for message in recent if "output_tokens_details" in message["usage"]]
    assert_covers(ours["usage"], detailed)
    assert_covers(ours["usage"]["cache_creation"], [usage["cache_creation"] for usage in detailed])


def test_content_blocks_have_the_keys_of_recorded_ones(sandbox: Sandbox) -> None:
    with client_of(sandbox) as client:
        thinking, text = json.loads(ask(client).model_dump_json(exclude_unset=True))["content"]
        tool = {"name": "record_results", "input_schema": pack_schema()}
        called = ask(client, model=OLD_MODEL, tools=[tool], tool_choice={"type": "any"}, output_config={})
        (tool_use,) = json.loads(called.model_dump_json(exclude_unset=True))["content"]
    recorded = [block for message in recorded_messages() for block in message["content"]]
    for block in (thinking, text, tool_use):
        assert_covers(block, [other for other in recorded if other["type"] == block["type"]])


def test_errors_have_the_keys_of_recorded_ones(client: anthropic.Anthropic) -> None:
    for status, model in ((401, MODEL), (404, "claude-nobody"), (400, MODEL)):
        asking = client.with_options(api_key="invalid") if status == 401 else client
        with pytest.raises(anthropic.APIStatusError) as refused:
            ask(asking, model=model, max_tokens=10**9)
        bodies = [
            record["response_body"]
            for record in recordings()
            if record["status"] == status and record["endpoint"].startswith("POST /v1/messages")
        ]
        assert isinstance(refused.value.body, dict)
        assert_covers(refused.value.body, bodies)
        assert_covers(refused.value.body["error"], [body["error"] for body in bodies])


def test_streams_have_the_events_of_recorded_ones(sandbox: Sandbox) -> None:
    recorded = [
        record["response_body"]
        for record in recordings()
        if record["response_kind"] == "sse" and record["status"] == 200 and "stop_details" in record["response_body"]
    ]
    ours = _events(_streamed(sandbox))
    theirs = [_events(body) for body in recorded]
    for name in ("message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"):
        mine = next(event for event in ours if event["type"] == name)
        assert_covers(mine, [event for events in theirs for event in events if event["type"] == name])
    starts = [event["message"] for events in theirs for event in events if event["type"] == "message_start"]
    assert_covers(next(event["message"] for event in ours if event["type"] == "message_start"), starts)
    last = next(event for event in ours if event["type"] == "message_delta")
    ends = [event for events in theirs for event in events if event["type"] == "message_delta"]
    assert_covers(last["delta"], [event["delta"] for event in ends])
    assert_covers(last["usage"], [event["usage"] for event in ends])


def _streamed(sandbox: Sandbox) -> str:
    with client_of(sandbox) as client:
        answer = client.messages.with_raw_response.create(
            model=OLD_MODEL, max_tokens=500, stream=True, messages=[{"role": "user", "content": pack_text(*TEXTS)}]
        )
        return "".join(answer.http_response.iter_text())


def _events(body: str) -> list[dict[str, Any]]:
    return [json.loads(found) for found in re.findall(r"^data: (\{.*\})\s*$", body, re.MULTILINE)]


def _hidden_samples() -> dict[str, list[int]]:
    """Cause -> billed input minus our count, over single-turn text requests to one model."""
    samples: dict[str, list[int]] = {"format": [], "tools": [], "forced": []}
    for record in recordings():
        request, response = record["request_body"], record["response_body"]
        if record["status"] != 200 or record["response_kind"] != "json" or not isinstance(request, dict):
            continue
        if not str(request.get("model")).startswith("claude-sonnet-4-5") or "usage" not in response:
            continue
        tools = request.get("tools") or []
        unusual = request.get("thinking") or request.get("mcp_servers") or len(request["messages"]) != 1
        if unusual or any("input_schema" not in tool for tool in tools):
            continue
        output_format = (request.get("output_config") or {}).get("format") or request.get("output_format")
        forced = (request.get("tool_choice") or {}).get("type") in ("any", "tool")
        usage = response["usage"]
        billed = sum(usage.get(f"{name}input_tokens") or 0 for name in ("", "cache_creation_", "cache_read_"))
        chars = sum(map(_chars, (request.get("system"), request["messages"][0]["content"])))
        chars += sum(map(_json_chars, tools)) + (_json_chars(output_format["schema"]) if output_format else 0)
        hidden = billed - tokens_of_chars(chars)
        if output_format and not tools:
            samples["format"].append(hidden)
        elif tools and not output_format and forced and len(tools) <= 3:
            samples["forced"].append(hidden)
        elif tools and not output_format and not forced and len(tools) <= 2:
            samples["tools"].append(hidden)
    return samples


def _chars(content: Any) -> int:
    return len(content) if isinstance(content, str) else sum(len(block.get("text", "")) for block in content or [])


def _json_chars(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def test_the_hidden_prompts_defaults_are_the_medians_of_the_recordings() -> None:
    samples = _hidden_samples()
    assert {name: len(found) for name, found in samples.items()} == {"format": 7, "tools": 14, "forced": 9}
    default = HiddenPrompt()
    assert statistics.median_high(samples["format"]) == default.format_tokens
    assert abs(statistics.median(samples["tools"]) - default.tools_tokens) <= 1
    assert statistics.median(samples["forced"]) == default.forced_tool_tokens
