"""Recorded answers and ours, field by field: each recorded field is ours with the same type, or is named here with the reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from . import test_anthropic_tools, test_chat_tools, test_google_tools, test_openai_tools
from .asking import TEXTS, json_format, pack_schema, pack_text, shared
from .asking_chat import contract, json_schema
from .asking_openai import ENTRY, text_format
from .shapes import Comparison, compared, shape_of

Members = dict[str, Any]
PACK = pack_text(*TEXTS)
LONG = pack_text("word " * 20_000)
REFUSING = {"scripted": [{"fault": "refuse", "nth_request": 1}]}
BLOCKING = {"scripted": [{"fault": "block_prompt", "nth_request": 1}]}


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One endpoint: what was recorded of it, what ours is asked, and what of the recorded is not served, why."""

    recordings: str
    endpoint: str
    path: str
    headers: Members
    asks: tuple[Members, ...]
    """Bodies; `_faults` and `_path` are not sent."""
    opaque: tuple[str, ...] = ()
    not_served: Mapping[str, tuple[str, ...]]
    """Reason -> recorded fields ours never have, the topmost of each branch."""
    never_recorded: tuple[str, ...] = ()
    """Fields of the SDK's types that no recording has."""
    same: int
    """Recorded fields that are ours with the same type."""


@cache
def recorded(name: str) -> tuple[Members, ...]:
    with gzip.open(shared(f"data/wire/{name}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def recorded_bodies(wire: Wire) -> Iterator[Any]:
    for record in recorded(wire.recordings):
        if record["endpoint"] == wire.endpoint and record["response_kind"] == "json" and record["status"] == 200:
            yield record["response_body"]


@pytest.fixture(scope="module")
def thinking() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(thinking_tokens=5)) as sandbox:
        yield sandbox


def ours(wire: Wire, sandbox: Sandbox) -> Iterator[Any]:
    for ask in wire.asks:
        sandbox.control.set_faults(ask.get("_faults", {}))
        sent = {key: value for key, value in ask.items() if not key.startswith("_")}
        answer = httpx2.post(
            sandbox.base_url + ask.get("_path", wire.path), headers=wire.headers, json=sent, timeout=20
        )
        assert answer.status_code == 200, answer.text
        yield answer.json()


def compare(wire: Wire, sandbox: Sandbox) -> Comparison:
    theirs = shape_of(recorded_bodies(wire), opaque=wire.opaque)
    return compared(theirs, shape_of(ours(wire, sandbox), opaque=wire.opaque))


def _anthropic(**more: Any) -> Members:
    return {"model": "claude-haiku-5-5", "max_tokens": 900, "messages": [{"role": "user", "content": PACK}], **more}


def _openai(**more: Any) -> Members:
    return {"model": "gpt-6-luna", "input": PACK, **more}


def _chat(**more: Any) -> Members:
    messages = [{"role": "system", "content": contract()}, {"role": "user", "content": PACK}]
    return {"model": "local-model", "messages": messages, **more}


def _google(**more: Any) -> Members:
    return {"contents": [{"role": "user", "parts": [{"text": PACK}]}], **more}


WIRES: dict[str, Wire] = {
    "anthropic messages": Wire(
        recordings="anthropic",
        endpoint="POST /v1/messages",
        path="/anthropic/v1/messages",
        headers={"x-api-key": "sandbox", "anthropic-version": "2026-10-21"},
        asks=(
            _anthropic(output_config=json_format(pack_schema())),
            _anthropic(tools=[test_anthropic_tools.SEARCH]),
            _anthropic(_faults=REFUSING),
        ),
        opaque=("content[tool_use].input",),
        not_served={
            "server tools run at the provider": (
                "container",
                "content[advisor_tool_result]",
                "content[bash_code_execution_tool_result]",
                "content[code_execution_tool_result]",
                "content[mcp_tool_result]",
                "content[mcp_tool_use]",
                "content[server_tool_use]",
                "content[text].citations",
                "content[text_editor_code_execution_tool_result]",
                "content[tool_search_tool_result]",
                "content[web_fetch_tool_result]",
                "content[web_search_tool_result]",
                "usage.iterations",
                "usage.server_tool_use",
            ),
            "thinking is shown, if empty": ("content[redacted_thinking]",),
            "the context is managed by the caller": ("context_management",),
        },
        never_recorded=("stop_details.category", "stop_details.explanation", "stop_details.type"),
        same=34,
    ),
    "openai responses": Wire(
        recordings="openai",
        endpoint="POST /v1/responses",
        path="/openai/v1/responses",
        headers={"authorization": "Bearer sandbox"},
        asks=(
            _openai(text=text_format()),
            _openai(tools=[test_openai_tools.SEARCH], include=["reasoning.encrypted_content"]),
            _openai(text=text_format(), max_output_tokens=20),
            _openai(tools=[test_openai_tools.SEARCH], tool_choice={"type": "function", "name": "search"}),
            _openai(_faults=REFUSING),
        ),
        opaque=("tools", "text.format.schema", "metadata"),
        not_served={
            "tools of the provider": (
                "output[code_interpreter_call]",
                "output[custom_tool_call]",
                "output[file_search_call]",
                "output[mcp_call]",
                "output[mcp_list_tools]",
                "output[message].content[output_text].annotations[file_citation]",
                "output[message].content[output_text].annotations[url_citation]",
                "output[tool_search_call]",
                "output[tool_search_output]",
                "output[web_search_call]",
                "tool_usage",
            ),
            "namespaces, choices among several and summaries are not asked for here": (
                "output[function_call].namespace",
                "output[message].content[output_text].logprobs[]",
                "output[reasoning].summary[summary_text]",
                "tool_choice.mode",
                "tool_choice.tools",
            ),
            "nothing is stored, moderated or compacted": (
                "conversation",
                "instructions[message]",
                "moderation.input",
                "moderation.output",
                "output[compaction]",
                "prompt",
            ),
            "only some models tell": (
                "output[message].phase",
                "output[reasoning].content",
                "reasoning.context",
                "reasoning.mode",
            ),
            "gone since early 2025": ("reasoning.generate_summary",),
            "made up by a test suite that mocks the API": ("status_details", "tool_calls", "total_tokens"),
        },
        never_recorded=(
            "output[message].content[refusal]",
            "output[message].content[refusal].refusal",
            "output[message].content[refusal].type",
        ),
        same=82,
    ),
    "chat completions": Wire(
        recordings="openai",
        endpoint="POST /v1/chat/completions",
        path="/custom/v1/chat/completions",
        headers={},
        asks=(_chat(response_format=json_schema(pack_schema(ENTRY))), _chat(tools=[test_chat_tools.SEARCH])),
        not_served={
            "OpenAI's own, which compatible servers need not have": (
                "choices[].message.annotations",
                "choices[].message.audio",
                "choices[].message.function_call",
                "choices[].message.refusal",
                "choices[].message.tool_calls[custom]",
                "moderation",
                "service_tier",
                "system_fingerprint",
                "usage.completion_tokens_details.accepted_prediction_tokens",
                "usage.completion_tokens_details.audio_tokens",
                "usage.completion_tokens_details.rejected_prediction_tokens",
                "usage.prompt_tokens_details.audio_tokens",
                "usage.prompt_tokens_details.cache_write_tokens",
            ),
            "of other servers": ("choices[].finish_details", "choices[].message.reasoning_content"),
        },
        same=27,
    ),
    "google generateContent": Wire(
        recordings="google",
        endpoint="POST /v1beta/models/{model}:generateContent",
        path="/google/v1beta/models/gemini-3.8-flash:generateContent",
        headers={"x-goog-api-key": "sandbox"},
        asks=(
            _google(),
            _google(tools=test_google_tools.TOOLS),
            _google(contents=[{"role": "user", "parts": [{"text": LONG}]}]),
            _google(contents=[{"role": "user", "parts": [{"text": LONG}]}]),
            _google(_faults=REFUSING),
            _google(_faults=BLOCKING),
        ),
        opaque=("candidates[].content.parts[].functionCall.args",),
        not_served={
            "tools run at the provider": (
                "candidates[].content.parts[].codeExecutionResult",
                "candidates[].content.parts[].executableCode",
                "candidates[].content.parts[].toolCall",
                "candidates[].content.parts[].toolResponse",
                "candidates[].groundingMetadata",
                "candidates[].urlContextMetadata",
                "usageMetadata.toolUsePromptTokenCount",
                "usageMetadata.toolUsePromptTokensDetails",
            ),
            "thoughts are not asked for": ("candidates[].content.parts[].thought",),
            "only some models tell": (
                "candidates[].avgLogprobs",
                "candidates[].finishMessage",
                "candidates[].safetyRatings[].blocked",
                "usageMetadata.candidatesTokensDetails",
            ),
        },
        never_recorded=("promptFeedback", "promptFeedback.blockReason"),
        same=35,
    ),
}


@pytest.mark.parametrize("name", WIRES)
def test_every_recorded_field_is_ours_with_its_type_or_is_named_with_a_reason(name: str, thinking: Sandbox) -> None:
    wire = WIRES[name]
    found = compare(wire, thinking)
    assert found.other_type == frozenset()
    # Both ways, so that a reason goes when its field comes.
    assert found.lacking == {path for paths in wire.not_served.values() for path in paths}
    assert found.ours_alone == set(wire.never_recorded)
    assert len(found.same) == wire.same


def test_a_difference_would_be_seen() -> None:
    theirs = shape_of([{"a": {"b": 1, "c": None}, "d": [{"type": "x", "e": "1"}], "f": {"g": 1}}], opaque=("f",))
    assert theirs == {
        "a": {"object"},
        "a.b": {"number"},
        "a.c": {"null"},
        "d": {"array"},
        "d[x]": {"object"},
        "d[x].type": {"string"},
        "d[x].e": {"string"},
        "f": {"object"},
    }
    other = shape_of([{"a": {"b": "1", "c": 2}, "d": [{"type": "y"}], "f": {}, "h": 1}], opaque=())
    found = compared(theirs, other)
    assert found.same == {"a", "a.c", "d", "f"}
    assert found.other_type == {"a.b"}
    assert found.lacking == {"d[x]"}
    assert found.ours_alone == {"d[y]", "d[y].type", "h"}
