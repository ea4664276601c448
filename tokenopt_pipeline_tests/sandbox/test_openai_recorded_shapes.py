"""Our OpenAI and chat responses beside recorded ones: every key real answers always have, ours have, with the same JSON type."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from typing import Any

import openai
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox

from . import asking_chat
from .asking import shared
from .asking_openai import EARLIER_MODEL, ask, client_of, message
from .test_recorded_shapes import assert_covers

# What the chat answers of OpenAI itself have and those of compatible servers need not.
OPENAI_ONLY = {"annotations", "refusal", "service_tier", "system_fingerprint"}


@cache
def recordings() -> tuple[dict[str, Any], ...]:
    with gzip.open(shared("data/wire/openai.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def recorded(endpoint: str, status: int = 200, kind: str = "json") -> list[Any]:
    return [
        record["response_body"]
        for record in recordings()
        if (record["endpoint"], record["status"], record["response_kind"]) == (endpoint, status, kind)
    ]


def recorded_responses() -> list[dict[str, Any]]:
    """Finished ones of this year's shape; mocked recordings of test suites lack what the API always has."""
    return [body for body in recorded("POST /v1/responses") if body.get("usage") and "billing" in body]


def dumped(response: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.model_dump_json(exclude_unset=True, by_alias=True))
    return body


def test_the_response_object_has_the_keys_of_recorded_ones(sandbox: Sandbox) -> None:
    theirs = recorded_responses()
    assert len(theirs) > 100
    with client_of(sandbox) as client:
        for ours in (dumped(ask(client)), dumped(ask(client, model=EARLIER_MODEL))):
            assert_covers(ours, theirs)
            assert_covers(ours["usage"], [body["usage"] for body in theirs])
            for name in ("input_tokens_details", "output_tokens_details"):
                assert_covers(ours["usage"][name], [body["usage"][name] for body in theirs])
            assert_covers(ours["text"], [body["text"] for body in theirs])
            assert_covers(ours["reasoning"], [body["reasoning"] for body in theirs])


def test_formats_have_the_keys_of_recorded_ones(sandbox: Sandbox) -> None:
    theirs = [body["text"]["format"] for body in recorded_responses()]
    with client_of(sandbox) as client:
        ours = dumped(ask(client))["text"]["format"]
    assert_covers(ours, [form for form in theirs if form["type"] == "json_schema"])


def test_output_items_have_the_keys_of_recorded_ones(sandbox: Sandbox) -> None:
    items = [item for body in recorded_responses() for item in body["output"]]
    with client_of(sandbox) as client:
        ours = dumped(ask(client))["output"]
    for item in ours:
        assert_covers(item, [other for other in items if other["type"] == item["type"]])
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    assert_covers(ours[-1]["content"][0], parts)


def test_incomplete_responses_say_why_as_recorded_ones_do(sandbox: Sandbox) -> None:
    (theirs,) = [body for body in recorded_responses() if body["status"] == "incomplete"]
    with client_of(sandbox) as client:
        ours = dumped(ask(client, max_output_tokens=20))
    assert ours["incomplete_details"] == theirs["incomplete_details"]
    assert ours["completed_at"] == theirs["completed_at"]
    assert [item.get("status") for item in ours["output"][-1:]] == [
        item.get("status") for item in theirs["output"][-1:]
    ]


def test_an_explicit_breakpoint_bills_like_the_recorded_pair(sandbox: Sandbox) -> None:
    pair = [body for body in recorded("POST /v1/responses") if body.get("prompt_cache_options")]
    assert len(pair) == 2
    with client_of(sandbox) as client:
        prompt = [message("user", "s" * 16_000, marked=True), message("user", "one")]
        ours = [dumped(ask(client, input=prompt, prompt_cache_options={"mode": "explicit"})) for _ in pair]
    for mine, theirs in zip(ours, pair, strict=True):
        assert mine["prompt_cache_options"] == theirs["prompt_cache_options"]
        details = [body["usage"]["input_tokens_details"] for body in (mine, theirs)]
        for name in ("cached_tokens", "cache_write_tokens"):
            assert (details[0][name] > 0) == (details[1][name] > 0)


def test_errors_have_the_keys_and_words_of_recorded_ones(sandbox: Sandbox) -> None:
    for status, key, more in ((400, "sandbox", {"model": "invalid-model"}), (401, "invalid-key", {})):
        with client_of(sandbox, key) as client, pytest.raises(openai.APIStatusError) as refused:
            ask(client, **more)
        theirs = [body["error"] for body in recorded("POST /v1/responses", status)]
        ours = refused.value.response.json()["error"]
        assert_covers(ours, theirs)
        same = [error for error in theirs if error["code"] == ours["code"]]
        assert same
        assert re.sub(r": .*?\. ", ": KEY. ", ours["message"]) in {
            re.sub(r": .*?\. ", ": KEY. ", error["message"]) for error in same
        }


def test_headers_are_those_of_recorded_exchanges(sandbox: Sandbox) -> None:
    named = [
        set(record["response_headers"])
        for record in recordings()
        if record["endpoint"] == "POST /v1/responses" and "x-ratelimit-limit-requests" in record["response_headers"]
    ]
    with client_of(sandbox) as client:
        ours = client.responses.with_raw_response.create(model=EARLIER_MODEL, input="hi").headers
    assert set.intersection(*named) - {"transfer-encoding"} <= set(ours)


def test_streams_have_the_events_of_recorded_ones(sandbox: Sandbox) -> None:
    theirs = [event for body in recorded("POST /v1/responses", kind="sse") for event in events(body)]
    with client_of(sandbox) as client:
        answer = client.responses.with_raw_response.create(model=EARLIER_MODEL, input="hi", stream=True)
        ours = events("".join(answer.http_response.iter_text()))
    kinds = [event["type"] for event in ours]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    for event in ours:
        assert_covers(event, [other for other in theirs if other["type"] == event["type"]])


def events(body: str) -> list[dict[str, Any]]:
    return [json.loads(found) for found in re.findall(r"^data: (\{.*\})\s*$", body, re.MULTILINE)]


def test_counts_and_models_have_the_keys_of_recorded_ones(sandbox: Sandbox) -> None:
    with client_of(sandbox) as client:
        count = dumped(client.responses.input_tokens.count(model=EARLIER_MODEL, input="hi"))
        model = dumped(client.models.retrieve(EARLIER_MODEL))
    assert_covers(count, recorded("POST /v1/responses/input_tokens"))
    assert_covers(model, recorded("GET /v1/models/{id}"))


def test_chat_completions_have_the_keys_of_recorded_ones_but_openais_own(sandbox: Sandbox) -> None:
    theirs = recorded("POST /v1/chat/completions")
    with asking_chat.client_of(sandbox) as client:
        ours = dumped(asking_chat.ask(client))
    assert_covers(ours, [without(body) for body in theirs])
    assert_covers(ours["usage"], [body["usage"] for body in theirs])
    choices = [choice for body in theirs for choice in body["choices"] if choice.get("finish_reason") == "stop"]
    assert_covers(ours["choices"][0], choices)
    assert_covers(ours["choices"][0]["message"], [without(choice["message"]) for choice in choices])


def without(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in OPENAI_ONLY}
