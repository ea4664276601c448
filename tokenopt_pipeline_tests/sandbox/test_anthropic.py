"""The Messages API, driven by the real SDK."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import jsonschema_rs
import pydantic
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.tokens import HiddenPrompt, tokens_of

from .asking import (
    MODEL,
    OLD_MODEL,
    TEXTS,
    ask,
    client_of,
    json_format,
    pack_schema,
    pack_text,
    results,
    said,
)

FORCED: dict[str, Any] = {"type": "tool", "name": "record_results"}
RECORD: dict[str, Any] = {"name": "record_results", "input_schema": pack_schema()}


def cached_system(chars: int, ttl: str = "5m", text: str = "s") -> list[dict[str, Any]]:
    return [{"type": "text", "text": text * chars, "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def test_a_structured_answer_fits_its_schema_and_names_every_block(client: anthropic.Anthropic) -> None:
    message = ask(client)
    assert message.stop_reason == "end_turn"
    jsonschema_rs.validator_for(pack_schema()).validate(json.loads(said(message)))
    assert [entry["n"] for entry in results(message)] == [1, 2, 3]


def test_a_model_that_thinks_by_default_puts_a_thinking_block_first(client: anthropic.Anthropic) -> None:
    assert [block.type for block in ask(client).content] == ["thinking", "text"]
    assert [block.type for block in ask(client, thinking={"type": "disabled"}).content] == ["text"]
    assert [block.type for block in ask(client, model=OLD_MODEL).content] == ["text"]


def test_a_forced_tool_gets_the_same_answer_as_a_format(client: anthropic.Anthropic) -> None:
    message = ask(client, model=OLD_MODEL, tools=[RECORD], tool_choice=FORCED, output_config={})
    assert message.stop_reason == "tool_use"
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.name == "record_results"
    assert block.input == {"results": results(ask(client))}


def test_parse_returns_the_model_asked_for(client: anthropic.Anthropic) -> None:
    class Clause(pydantic.BaseModel):
        title: str = pydantic.Field(max_length=20)
        share: float = pydantic.Field(ge=0, le=1)

    parsed = client.messages.parse(
        model=MODEL, max_tokens=500, messages=[{"role": "user", "content": TEXTS[0]}], output_format=Clause
    )
    assert isinstance(parsed.parsed_output, Clause)


def test_without_a_schema_the_answer_is_a_short_text(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model=MODEL, max_tokens=500, messages=[{"role": "user", "content": TEXTS[0]}])
    assert said(message).startswith("The text says")


@pytest.mark.parametrize("as_tool", [False, True])
def test_a_stream_adds_up_to_the_same_message(client: anthropic.Anthropic, as_tool: bool) -> None:
    binding: dict[str, Any] = (
        {"tools": [RECORD], "tool_choice": FORCED} if as_tool else {"output_config": json_format(pack_schema())}
    )
    request: dict[str, Any] = {
        "model": OLD_MODEL if as_tool else MODEL,
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": pack_text(*TEXTS)}],
        **binding,
    }
    with client.messages.stream(**request) as stream:
        streamed = stream.get_final_message()
    whole = client.messages.create(**request)
    volatile = {"id": True, "content": {"__all__": {"signature", "id", "parsed_output"}}}
    assert streamed.model_dump(exclude=volatile) == whole.model_dump(exclude=volatile)  # type: ignore[arg-type]  # pydantic's recursive alias


def test_tokens_are_characters_over_four_plus_the_hidden_prompt(client: anthropic.Anthropic) -> None:
    prompt = pack_text(*TEXTS)
    schema_chars = len(json.dumps(pack_schema(), separators=(",", ":")))
    message = ask(client)
    expected = -(-(len(prompt) + schema_chars) // 4) + HiddenPrompt().format_tokens
    assert message.usage.input_tokens == expected
    assert message.usage.output_tokens == tokens_of(said(message))
    counted = client.messages.count_tokens(
        model=MODEL,
        messages=[{"role": "user", "content": prompt}],
        output_config=json_format(pack_schema()),  # type: ignore[arg-type]  # a TypedDict
    )
    assert counted.input_tokens == expected


def test_an_answer_longer_than_max_tokens_is_cut_there(client: anthropic.Anthropic) -> None:
    whole = said(ask(client))
    message = ask(client, max_tokens=20)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 20
    assert said(message) == whole[:80]


def test_a_cut_tool_call_keeps_the_results_that_were_complete(client: anthropic.Anthropic) -> None:
    request: dict[str, Any] = {"model": OLD_MODEL, "tools": [RECORD], "tool_choice": FORCED, "output_config": {}}
    whole = ask(client, **request).content[0]
    first = len(json.dumps({"results": whole.input["results"][:1]}))  # type: ignore[union-attr,index]  # a tool_use block
    message = ask(client, max_tokens=first // 4 + 5, **request)
    assert message.stop_reason == "max_tokens"
    assert message.content[0].input == {"results": whole.input["results"][:1]}  # type: ignore[union-attr,index]  # same


def test_every_response_says_it_is_simulated(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "hi"}]
    )
    assert raw.headers["x-tokenopt-sandbox"] == "simulated"
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "3999"
    with client_of(sandbox, "invalid-key") as stranger, pytest.raises(anthropic.AuthenticationError) as refused:
        ask(stranger)
    assert refused.value.response.headers["x-tokenopt-sandbox"] == "simulated"
    assert refused.value.request_id is not None


def test_models_are_listed_and_shown_under_their_aliases(client: anthropic.Anthropic) -> None:
    listed = [model.id for model in client.models.list(limit=5)]
    assert len(listed) == len(set(listed)) > 10  # the SDK follows the pages
    shown = client.models.retrieve(OLD_MODEL)
    assert (shown.id, shown.max_input_tokens, shown.max_tokens) == ("claude-haiku-4-5-20251001", 200_000, 64_000)


def usage_of(client: anthropic.Anthropic, text: str, **more: Any) -> tuple[int, int]:
    usage = ask(client, text, **more).usage
    return usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0


def test_a_shared_prefix_is_written_once_and_read_after_that(client: anthropic.Anthropic) -> None:
    written, read = usage_of(client, "one", system=cached_system(4000))
    assert read == 0
    assert written >= 1000
    assert usage_of(client, "two", system=cached_system(4000)) == (0, written)
    usage = ask(client, "three", system=cached_system(4000, text="t"), model=OLD_MODEL).usage
    assert usage.cache_creation_input_tokens == 0  # below this model's minimum: silently not cached
    assert usage.cache_read_input_tokens == 0


def test_lifetimes_are_told_apart_in_usage(client: anthropic.Anthropic) -> None:
    creation = ask(client, system=cached_system(4000, ttl="1h")).usage.cache_creation
    assert creation is not None
    assert creation.ephemeral_5m_input_tokens == 0
    assert creation.ephemeral_1h_input_tokens >= 1000


@pytest.mark.parametrize("what", ["format", "model", "system", "key"])
def test_what_belongs_to_the_key_separates_caches(sandbox: Sandbox, client: anthropic.Anthropic, what: str) -> None:
    usage_of(client, "one", system=cached_system(4000))
    more: dict[str, Any] = {"system": cached_system(4000)}
    if what == "format":
        more["output_config"] = json_format({**pack_schema(), "description": "another"})
    if what == "model":
        more["model"] = "claude-opus-5-5"
    if what == "system":
        more["system"] = cached_system(4000, text="t")
    with client_of(sandbox, "another key" if what == "key" else "sandbox") as asking:
        assert usage_of(asking, "one", **more)[1] == 0


def test_automatic_caching_marks_the_last_block(client: anthropic.Anthropic) -> None:
    history: list[Any] = [{"role": "user", "content": "a" * 4000}]
    request: dict[str, Any] = {"cache_control": {"type": "ephemeral"}, "output_config": {}}
    written = ask(client, messages=history, **request).usage.cache_creation_input_tokens
    assert written == 1000
    history += [{"role": "assistant", "content": "b" * 400}, {"role": "user", "content": "c" * 400}]
    usage = ask(client, messages=history, **request).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.input_tokens) == (1000, 200, 0)


def test_simultaneous_cold_requests_all_write_and_the_next_one_reads() -> None:
    with running_sandbox(SandboxConfig(latency_s=0.3)) as sandbox, client_of(sandbox) as client:
        together = threading.Barrier(2)

        def cold(text: str) -> int:
            together.wait()
            return usage_of(client, text, system=cached_system(4000))[0]

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(cold, ["one", "two"])
        assert first == second > 0
        assert usage_of(client, "three", system=cached_system(4000)) == (0, first)
        stats = sandbox.control.stats()
        assert (stats["cache_writes"], stats["cache_hits"], stats["concurrent_peak"]) == (2, 1, 2)


def test_a_cache_entry_dies_when_its_time_is_over() -> None:
    now_s = [1_800_000_000.0]
    with running_sandbox(clock=lambda: now_s[0]) as sandbox, client_of(sandbox) as client:
        written, _ = usage_of(client, "one", system=cached_system(4000))
        now_s[0] += 299
        assert usage_of(client, "two", system=cached_system(4000)) == (0, written)
        now_s[0] += 301
        assert usage_of(client, "three", system=cached_system(4000)) == (written, 0)


def test_latency_is_kept() -> None:
    config = SandboxConfig(latency_s=0.1, latency_per_output_token_s=0.002)
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        started_s = time.monotonic()
        message = ask(client)
        assert time.monotonic() - started_s >= 0.1 + 0.002 * message.usage.output_tokens


def test_counters_agree_with_usage(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    usages = [ask(client, system=cached_system(4000)).usage for _ in range(3)]
    with pytest.raises(anthropic.BadRequestError):
        ask(client, max_tokens=10**9)
    stats = sandbox.control.stats()
    assert stats["requests"] == 4
    assert stats["calls"] == 3
    assert stats["blocks"] == 9
    assert stats["by_status"] == {"200": 3, "400": 1}
    assert stats["tokens"] == {
        "input": sum(usage.input_tokens for usage in usages),
        "output": sum(usage.output_tokens for usage in usages),
        "cache_read": sum(usage.cache_read_input_tokens or 0 for usage in usages),
        "cache_write_5m": sum(usage.cache_creation_input_tokens or 0 for usage in usages),
        "cache_write_1h": 0,
    }


def test_thinking_is_billed_as_output_when_configured() -> None:
    with running_sandbox(SandboxConfig(thinking_tokens=50)) as sandbox, client_of(sandbox) as client:
        message = ask(client)
        assert message.usage.output_tokens == 50 + tokens_of(said(message))
        assert message.usage.output_tokens_details is not None
        assert message.usage.output_tokens_details.thinking_tokens == 50
        assert ask(client, max_tokens=50).stop_reason == "max_tokens"


def test_requests_beyond_the_minutes_limit_are_refused_with_a_retry_after() -> None:
    with running_sandbox(SandboxConfig(requests_per_minute=2)) as sandbox, client_of(sandbox) as client:
        ask(client)
        ask(client)
        with pytest.raises(anthropic.RateLimitError) as refused:
            ask(client)
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 30
        assert refused.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert sandbox.control.stats()["by_status"] == {"200": 2, "429": 1}
