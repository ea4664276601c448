"""OpenAI's prompt caches: breakpoints from gpt-5.6 on, automatic prefixes before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox

from .asking import pack_schema
from .asking_openai import EARLIER_MODEL, ENTRY, ask, cache_counts, client_of, message, text_format

SHARED = "s" * 8000  # 2000 tokens
SCHEMA_TOKENS = len(json.dumps(pack_schema(ENTRY), separators=(",", ":"))) // 4


@pytest.fixture
def openai_client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with client_of(sandbox) as client:
        yield client


def cached(
    client: openai.OpenAI, tail: str, *, marked: bool = True, mode: str = "explicit", **more: Any
) -> tuple[int, int]:
    """Tokens written and read by a request with a shared developer message and a tail of its own."""
    options = more.pop("prompt_cache_options", {"mode": mode})
    ttl = more.pop("ttl", None)
    prompt = [message("developer", more.pop("shared", SHARED), marked=marked, ttl=ttl), message("user", tail)]
    return cache_counts(ask(client, input=prompt, prompt_cache_options=options, **more))


def test_a_marked_prefix_is_written_once_and_read_after_that(openai_client: openai.OpenAI) -> None:
    written, read = cached(openai_client, "one")
    assert read == 0
    assert written > 2000  # the schema stands before it
    assert cached(openai_client, "two") == (0, written)


def test_what_is_cached_stays_part_of_the_input(openai_client: openai.OpenAI) -> None:
    prompt = [message("developer", SHARED, marked=True), message("user", "one" * 100)]
    for _ in range(2):
        usage = ask(openai_client, input=prompt, prompt_cache_options={"mode": "explicit"}).usage
        assert usage is not None
        details = usage.input_tokens_details
        assert usage.input_tokens - details.cached_tokens - details.cache_write_tokens == 75  # the tail


def test_the_implicit_breakpoint_writes_entries_nobody_reads_again(openai_client: openai.OpenAI) -> None:
    first = cached(openai_client, "one" * 100, marked=False, mode="implicit")
    second = cached(openai_client, "two" * 100, marked=False, mode="implicit")
    assert first[0] == second[0] > 2000  # both paid for writing
    assert first[1] == second[1] == 0  # and neither read
    assert cached(openai_client, "two" * 100, marked=False, mode="implicit") == (0, second[0])


def test_both_breakpoints_together_write_the_tail_beside_the_hit(openai_client: openai.OpenAI) -> None:
    cached(openai_client, "one" * 100, mode="implicit")
    written, read = cached(openai_client, "two" * 100, mode="implicit")
    assert read > 2000
    assert written == 75  # 300 characters


def test_a_conversation_that_grows_reads_its_earlier_end(openai_client: openai.OpenAI) -> None:
    turn: list[Any] = [message("user", SHARED)]
    written, _ = cache_counts(ask(openai_client, input=turn))
    turn += [{"role": "assistant", "content": "a" * 400}, message("user", "b" * 400)]
    assert cache_counts(ask(openai_client, input=turn)) == (200, written)


def test_explicit_mode_without_a_breakpoint_caches_nothing(openai_client: openai.OpenAI) -> None:
    for _ in range(2):
        assert cached(openai_client, "one", marked=False) == (0, 0)


def test_a_prefix_below_the_minimum_is_not_cached(openai_client: openai.OpenAI) -> None:
    for _ in range(2):
        assert cached(openai_client, "one", shared="s" * 2000) == (0, 0)


@pytest.mark.parametrize("where", ["breakpoint", "options"])
def test_lifetimes_are_told_apart_in_usage(sandbox: Sandbox, openai_client: openai.OpenAI, where: str) -> None:
    options = {"mode": "explicit", "ttl": "12h" if where == "options" else "30m"}
    prompt = [message("developer", SHARED, marked=True, ttl="12h" if where == "breakpoint" else None)]
    usage = ask(openai_client, input=[*prompt, message("user", "one")], prompt_cache_options=options).usage
    assert usage is not None
    details = usage.input_tokens_details.cache_write_tokens_details
    assert details is not None
    assert (details.ttl_30m_tokens, details.ttl_12h_tokens) == (0, usage.input_tokens_details.cache_write_tokens)
    stats = sandbox.control.stats()
    assert stats["tokens"]["cache_write_12h"] == details.ttl_12h_tokens  # type: ignore[index,call-overload]  # JSON


def test_no_more_than_four_breakpoints_are_written(openai_client: openai.OpenAI) -> None:
    prompt = [message("developer", str(index) * 8000, marked=True) for index in range(6)]
    options = {"mode": "explicit"}
    ask(openai_client, input=[*prompt, message("user", "one")], prompt_cache_options=options)
    assert cached(openai_client, "one", shared="0" * 8000)[1] == 0
    third = [*prompt[:3], message("user", "two")]
    assert cache_counts(ask(openai_client, input=third, prompt_cache_options=options))[1] > 6000


def test_the_implicit_breakpoint_takes_one_of_the_four(openai_client: openai.OpenAI) -> None:
    prompt = [message("developer", str(index) * 8000, marked=True) for index in range(4)]
    ask(openai_client, input=[*prompt, message("user", "one")])
    assert cached(openai_client, "two", shared="0" * 8000)[1] == 0
    second = [*prompt[:2], message("user", "three")]
    assert cache_counts(ask(openai_client, input=second))[1] > 4000


@pytest.mark.parametrize("what", ["schema", "effort", "model", "shared", "key"])
def test_what_belongs_to_the_prefix_separates_caches(sandbox: Sandbox, openai_client: openai.OpenAI, what: str) -> None:
    cached(openai_client, "one")
    different: dict[str, dict[str, Any]] = {
        "schema": {"text": text_format({**pack_schema(ENTRY), "description": "another"})},
        "effort": {"reasoning": {"effort": "high"}},
        "model": {"model": "gpt-6-sol"},
        "shared": {"shared": "t" * 8000},
        "key": {},
    }
    with client_of(sandbox, "another key" if what == "key" else "sandbox") as asking:
        assert cached(asking, "one", **different[what])[1] == 0


def test_an_entry_dies_half_an_hour_after_its_last_use() -> None:
    now_s = [1_800_000_000.0]
    with running_sandbox(clock=lambda: now_s[0]) as sandbox, client_of(sandbox) as client:
        written, _ = cached(client, "one")
        now_s[0] += 1799
        assert cached(client, "two") == (0, written)
        now_s[0] += 1801
        assert cached(client, "three") == (written, 0)


def test_a_prewarm_writes_and_says_nothing(openai_client: openai.OpenAI) -> None:
    prompt = [message("developer", SHARED, marked=True), message("user", "one")]
    options = {"mode": "explicit", "prewarm": True}
    warming = ask(openai_client, input=prompt, prompt_cache_options=options)
    assert warming.output == []
    assert warming.usage is not None
    assert warming.usage.output_tokens == 0
    assert cached(openai_client, "two") == (0, cache_counts(warming)[0])


def automatic(client: openai.OpenAI, text: str, **more: Any) -> tuple[int, int]:
    return cache_counts(ask(client, model=EARLIER_MODEL, input=text, **more))


def test_earlier_models_read_the_longest_prefix_in_steps_and_write_for_free(openai_client: openai.OpenAI) -> None:
    assert automatic(openai_client, SHARED + "one") == (0, 0)
    written, read = automatic(openai_client, SHARED + "two")
    assert written == 0
    assert read % 128 == 0
    assert 2000 - 128 < read - SCHEMA_TOKENS <= 2001
    assert automatic(openai_client, "t" + SHARED)[1] == 0


def test_earlier_models_cache_nothing_short_and_nothing_routed_elsewhere(openai_client: openai.OpenAI) -> None:
    for _ in range(2):
        assert automatic(openai_client, "short") == (0, 0)
    automatic(openai_client, SHARED, prompt_cache_key="here")
    assert automatic(openai_client, SHARED, prompt_cache_key="there")[1] == 0
    assert automatic(openai_client, SHARED, prompt_cache_key="here")[1] > 0


def test_equal_text_in_another_role_is_another_prefix(openai_client: openai.OpenAI) -> None:
    reads = []
    for role in ("developer", "user", "user"):
        prompt = [message(role, SHARED), message("user", "one")]
        reads.append(cache_counts(ask(openai_client, model=EARLIER_MODEL, input=prompt))[1])
    # The schema's whole steps are shared, what follows them is not.
    assert reads[0] == 0
    assert reads[1] < 1024 < reads[2]


@pytest.mark.parametrize("control", ["options", "breakpoint"])
def test_earlier_models_refuse_cache_controls(openai_client: openai.OpenAI, control: str) -> None:
    more: dict[str, Any] = {"model": EARLIER_MODEL}
    if control == "options":
        more["prompt_cache_options"] = {"mode": "explicit"}
    else:
        more["input"] = [message("user", SHARED, marked=True)]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(openai_client, **more)
    assert refused.value.code == "unsupported_parameter"
