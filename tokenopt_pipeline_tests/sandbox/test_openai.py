"""The Responses API, driven by the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import openai
import pydantic
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.tokens import tokens_of

from .asking import TEXTS, pack_schema, pack_text
from .asking_openai import EARLIER_MODEL, ENTRY, MODEL, ask, client_of, message, results, text_format


@pytest.fixture
def openai_client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    with client_of(sandbox) as client:
        yield client


def test_a_structured_answer_fits_its_schema_and_names_every_block(openai_client: openai.OpenAI) -> None:
    response = ask(openai_client)
    assert (response.status, response.incomplete_details, response.error) == ("completed", None, None)
    jsonschema_rs.validator_for(pack_schema(ENTRY)).validate(json.loads(response.output_text))
    assert [entry["n"] for entry in results(response)] == [1, 2, 3]


def test_the_last_user_message_is_the_one_answered(openai_client: openai.OpenAI) -> None:
    turns = [message("user", "before"), {"role": "assistant", "content": "yes"}, message("user", pack_text(*TEXTS))]
    assert results(ask(openai_client, input=turns)) == results(ask(openai_client))


def test_a_model_that_reasons_puts_a_reasoning_item_first(openai_client: openai.OpenAI) -> None:
    kinds = [item.type for item in ask(openai_client).output]
    assert kinds == ["reasoning", "message"]
    assert [item.type for item in ask(openai_client, reasoning={"effort": "none"}).output] == ["message"]
    assert [item.type for item in ask(openai_client, model=EARLIER_MODEL).output] == ["message"]


def test_parse_returns_the_model_asked_for(openai_client: openai.OpenAI) -> None:
    class Clause(pydantic.BaseModel):
        title: str
        share: float = pydantic.Field(ge=0, le=1)

    parsed = openai_client.responses.parse(model=MODEL, input=TEXTS[0], text_format=Clause)
    assert isinstance(parsed.output_parsed, Clause)


def test_without_a_format_the_answer_is_a_short_text(openai_client: openai.OpenAI) -> None:
    assert openai_client.responses.create(model=MODEL, input=TEXTS[0]).output_text.startswith("The text says")


def test_json_mode_answers_json_and_wants_the_word(openai_client: openai.OpenAI) -> None:
    json_mode: Any = {"format": {"type": "json_object"}}
    answer = openai_client.responses.create(model=MODEL, input="Answer in JSON.", text=json_mode)
    assert isinstance(json.loads(answer.output_text), dict)
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        openai_client.responses.create(model=MODEL, input="Answer.", text=json_mode)


def test_tokens_are_characters_over_four(openai_client: openai.OpenAI) -> None:
    prompt, form = pack_text(*TEXTS), text_format()
    schema_chars = len(json.dumps(pack_schema(ENTRY), separators=(",", ":")))
    expected = -(-(len(prompt) + schema_chars) // 4)
    response = ask(openai_client)
    assert response.usage is not None
    assert response.usage.input_tokens == expected
    assert response.usage.output_tokens == tokens_of(response.output_text)
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    counted: Any = openai_client.responses.input_tokens.count(
        model=MODEL,
        input=[message("user", prompt)],  # type: ignore[list-item]  # a TypedDict
        text=form,  # type: ignore[arg-type]  # a TypedDict
    )
    assert counted.input_tokens == expected


def test_an_answer_longer_than_the_limit_is_incomplete(openai_client: openai.OpenAI) -> None:
    whole = ask(openai_client).output_text
    response = ask(openai_client, max_output_tokens=20)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == whole[:80]
    assert response.usage is not None
    assert response.usage.output_tokens == 20


def test_reasoning_counts_as_output_and_against_the_limit() -> None:
    with running_sandbox(SandboxConfig(thinking_tokens=50)) as sandbox, client_of(sandbox) as client:
        response = ask(client)
        assert response.usage is not None
        assert response.usage.output_tokens == 50 + tokens_of(response.output_text)
        assert response.usage.output_tokens_details.reasoning_tokens == 50
        starved = ask(client, max_output_tokens=50)
        assert (starved.status, starved.output_text) == ("incomplete", "")


def test_a_stream_adds_up_to_the_same_response(openai_client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": MODEL, "input": pack_text(*TEXTS), "text": text_format()}
    with openai_client.responses.stream(**request) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        streamed = stream.get_final_response()
    whole = openai_client.responses.create(**request)
    assert deltas == streamed.output_text == whole.output_text
    assert streamed.usage == whole.usage


def test_every_response_says_it_is_simulated_and_who_it_is(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    raw = openai_client.responses.with_raw_response.create(model=MODEL, input="hi")
    assert raw.headers["x-tokenopt-sandbox"] == "simulated"
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-ratelimit-limit-requests"] == "4000"
    assert raw.headers["x-ratelimit-remaining-requests"] == "3999"
    assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    with client_of(sandbox, "invalid-key") as stranger, pytest.raises(openai.AuthenticationError) as refused:
        ask(stranger)
    assert refused.value.response.headers["x-tokenopt-sandbox"] == "simulated"
    assert refused.value.request_id is not None


def test_models_are_listed_and_shown_under_their_aliases(openai_client: openai.OpenAI) -> None:
    listed = [model.id for model in openai_client.models.list()]
    assert {MODEL, EARLIER_MODEL, "gpt-6.1-sol", "gpt-5.4-nano"} <= set(listed)
    assert openai_client.models.retrieve(EARLIER_MODEL).id == EARLIER_MODEL
    assert ask(openai_client, model=EARLIER_MODEL).model == "gpt-5.4-mini-2026-03-17"


def test_counters_agree_with_usage(sandbox: Sandbox, openai_client: openai.OpenAI) -> None:
    usages = [ask(openai_client).usage for _ in range(2)]
    with pytest.raises(openai.BadRequestError):
        ask(openai_client, max_output_tokens=1)
    stats = sandbox.control.stats()
    assert (stats["requests"], stats["calls"], stats["blocks"]) == (3, 2, 6)
    assert stats["by_status"] == {"200": 2, "400": 1}
    assert stats["by_model"] == {MODEL: 2}
    assert stats["by_stop_reason"] == {"completed": 2}
    assert stats["tokens"] == {
        "input": sum(usage.input_tokens for usage in usages if usage is not None),
        "output": sum(usage.output_tokens for usage in usages if usage is not None),
        "cache_read": 0,
        "cache_write_5m": 0,
        "cache_write_1h": 0,
    }
