"""The OpenAI-compatible server, driven by the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import openai
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.config_reading import ConfigRefused
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.json_value import Json
from tokenopt_pipeline.sandbox.tokens import tokens_of

from .asking import TEXTS, pack_schema, pack_text
from .asking_chat import MODEL, ask, client_of, contract, json_schema, results, said, server
from .asking_openai import ENTRY


@pytest.fixture
def chat_client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with client_of(sandbox) as client:
        yield client


def spoil(sandbox: Sandbox, fault: str, **plan: Any) -> None:
    sandbox.control.set_faults({"scripted": [{"nth_request": 1, "fault": fault}], **plan})


def test_a_structured_answer_fits_its_schema_and_names_every_block(chat_client: openai.OpenAI) -> None:
    completion = ask(chat_client)
    assert completion.choices[0].finish_reason == "stop"
    jsonschema_rs.validator_for(pack_schema(ENTRY)).validate(json.loads(said(completion)))
    assert [entry["n"] for entry in results(completion)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("capability", "taken"),
    [
        ("json_schema", {"json_schema", "json_object", "none"}),
        ("json_object", {"json_object", "none"}),
        ("prompt_only", {"none"}),
    ],
)
def test_what_is_above_the_capability_is_refused_and_the_rest_answers_the_same(
    chat_client: openai.OpenAI, capability: str, taken: set[str]
) -> None:
    formats: dict[str, Any] = {
        "json_schema": json_schema(),
        "json_object": {"type": "json_object"},
        "none": openai.omit,
    }
    with running_sandbox(server(capability=capability)) as sandbox, client_of(sandbox) as client:
        for name, response_format in formats.items():
            if name in taken:
                assert results(ask(client, response_format=response_format)) == results(ask(chat_client))
            else:
                with pytest.raises(openai.BadRequestError, match="not supported"):
                    ask(client, response_format=response_format)


def test_without_the_contract_nobody_promised_json(chat_client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": pack_text(*TEXTS)}]
    assert said(ask(chat_client, messages=messages, response_format=openai.omit)).startswith("The text says")
    some = ask(chat_client, messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(said(some)), dict)


def test_json_nobody_bound_can_come_in_a_fence(chat_client: openai.OpenAI) -> None:
    with running_sandbox(server(fenced=True)) as sandbox, client_of(sandbox) as client:
        fenced = said(ask(client, response_format=openai.omit))
        assert fenced == f"```json\n{said(ask(chat_client))}\n```"
        assert said(ask(client)) == said(ask(chat_client))  # bound: no fence
        cut = ask(client, response_format=openai.omit, max_tokens=10)
        assert (said(cut), cut.choices[0].finish_reason) == (fenced[:40], "length")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_answer_longer_than_the_limit_is_cut_there(chat_client: openai.OpenAI, name: str) -> None:
    whole = said(ask(chat_client))
    completion = ask(chat_client, **{name: 20})
    assert completion.choices[0].finish_reason == "length"
    assert said(completion) == whole[:80]


def test_a_limit_under_a_name_the_server_does_not_know_is_ignored_or_refused() -> None:
    lax, strict = server(limit_fields=["max_tokens"]), server(limit_fields=["max_tokens"], strict=True)
    with running_sandbox(lax) as sandbox, client_of(sandbox) as client:
        assert ask(client, max_completion_tokens=20).choices[0].finish_reason == "stop"
    with running_sandbox(strict) as sandbox, client_of(sandbox) as client:
        assert ask(client, max_tokens=20).choices[0].finish_reason == "length"
        with pytest.raises(openai.BadRequestError, match="max_completion_tokens"):
            ask(client, max_completion_tokens=20)


@pytest.mark.parametrize("more", [{"store": False}, {"metadata": {"a": "b"}}, {"prompt_cache_key": "a"}])
def test_a_strict_server_refuses_what_only_openai_knows(chat_client: openai.OpenAI, more: dict[str, Any]) -> None:
    assert ask(chat_client, **more).choices[0].finish_reason == "stop"
    with running_sandbox(server(strict=True)) as sandbox, client_of(sandbox) as client:
        assert len(results(ask(client))) == 3
        with pytest.raises(openai.BadRequestError, match=next(iter(more))):
            ask(client, **more)


def test_tokens_are_characters_over_four_and_details_may_be_absent(chat_client: openai.OpenAI) -> None:
    schema_chars = len(json.dumps(pack_schema(ENTRY), separators=(",", ":")))
    expected = -(-(len(contract()) + len(pack_text(*TEXTS)) + schema_chars) // 4)
    completion = ask(chat_client)
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (
        expected,
        tokens_of(said(completion)),
    )
    assert completion.usage.prompt_tokens_details is not None
    with running_sandbox(server(usage_details=False)) as sandbox, client_of(sandbox) as client:
        usage = ask(client).usage
        assert usage is not None
        assert usage.prompt_tokens == expected
        assert usage.prompt_tokens_details is None
        assert usage.completion_tokens_details is None


def test_any_key_is_as_good_as_none(sandbox: Sandbox) -> None:
    for key in ("", "invalid-elsewhere"):
        with client_of(sandbox, key or "x") as client:
            headers = {} if key else {"Authorization": openai.omit}
            assert len(results(ask(client, extra_headers=headers))) == 3


def test_models_are_listed_and_others_unknown() -> None:
    with running_sandbox(server(models=["org/model-7b"])) as sandbox, client_of(sandbox) as client:
        assert [model.id for model in client.models.list()] == ["org/model-7b"]
        assert len(results(ask(client, model="org/model-7b"))) == 3
        with pytest.raises(openai.NotFoundError):
            ask(client)


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ("openai", {"message", "type", "param", "code"}),
        ("vllm", {"object", "message", "type", "param", "code"}),
        ("text", None),
    ],
)
def test_errors_come_in_the_servers_own_shape(shape: str, keys: set[str] | None) -> None:
    config = server(errors=shape, capability="prompt_only")
    with running_sandbox(config) as sandbox, client_of(sandbox) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client)
        assert caught.value.response.headers["x-tokenopt-sandbox"] == "simulated"
        if keys is None:
            with pytest.raises(ValueError):
                caught.value.response.json()
        else:
            assert isinstance(caught.value.body, dict)
            assert set(caught.value.body) == keys


def test_a_prompt_and_its_answer_share_the_context() -> None:
    with running_sandbox(server(context_tokens=1000)) as sandbox, client_of(sandbox) as client:
        assert len(results(ask(client))) == 3
        with pytest.raises(openai.BadRequestError, match="maximum context length is 1000 tokens"):
            ask(client, max_tokens=900)


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("rate_limit_429", openai.RateLimitError, 429),
        ("spend_limit_429", openai.RateLimitError, 429),
        ("overloaded_529", openai.InternalServerError, 503),
        ("server_error_500", openai.InternalServerError, 500),
        ("usage_limit_400", openai.BadRequestError, 400),
    ],
)
def test_a_failed_call_raises_its_status(
    chat_client: openai.OpenAI, sandbox: Sandbox, fault: str, error: type[openai.APIStatusError], status: int
) -> None:
    spoil(sandbox, fault, retry_after_s=7)
    with pytest.raises(error) as caught:
        ask(chat_client)
    assert caught.value.status_code == status
    assert caught.value.response.headers.get("retry-after") == ("7" if fault == "rate_limit_429" else None)
    assert len(results(ask(chat_client))) == 3  # the retry succeeds


def test_a_reset_connection_is_a_connection_error(sandbox: Sandbox, chat_client: openai.OpenAI) -> None:
    spoil(sandbox, "connection_reset")
    with pytest.raises(openai.APIConnectionError):
        ask(chat_client)


@pytest.mark.parametrize("fault", ["refuse", "block_prompt"])
def test_a_refusal_is_a_filtered_answer(sandbox: Sandbox, chat_client: openai.OpenAI, fault: str) -> None:
    spoil(sandbox, fault)
    completion = ask(chat_client)
    assert (completion.choices[0].finish_reason, said(completion)) == ("content_filter", "")


@pytest.mark.parametrize("fault", ["malformed", "prose"])
def test_an_answer_can_be_no_json(sandbox: Sandbox, chat_client: openai.OpenAI, fault: str) -> None:
    spoil(sandbox, fault)
    with pytest.raises(ValueError):
        json.loads(said(ask(chat_client)))


def test_counters_agree_with_usage(sandbox: Sandbox, chat_client: openai.OpenAI) -> None:
    usage = ask(chat_client).usage
    assert usage is not None
    stats = sandbox.control.stats()
    assert (stats["calls"], stats["blocks"], stats["by_model"]) == (1, 3, {MODEL: 1})
    assert isinstance(stats["tokens"], dict)
    assert (stats["tokens"]["input"], stats["tokens"]["output"]) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize(
    "custom",
    [
        {"capability": "everything"},
        {"errors": "html"},
        {"strict": "yes"},
        {"models": []},
        {"limit_fields": ["limit"]},
        {"context_tokens": 0},
        {"unknown": 1},
        [],
    ],
)
def test_a_server_nobody_understands_is_refused(custom: Json) -> None:
    with pytest.raises(ConfigRefused):
        SandboxConfig.from_json({"custom": custom})
