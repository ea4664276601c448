"""Faults as a caller meets them through the real SDK."""

from __future__ import annotations

import json
import time
import urllib.error
from typing import Any

import anthropic
import pytest

from tokenopt_pipeline.sandbox.in_process import Sandbox

from .asking import OLD_MODEL, TEXTS, ask, pack_schema, results, said

Found = tuple[int, str]


def spoil(sandbox: Sandbox, fault: str, **plan: Any) -> None:
    sandbox.control.set_faults({"scripted": [{"nth_request": 1, "fault": fault}], **plan})


@pytest.mark.parametrize(
    ("fault", "error", "found"),
    [
        ("rate_limit_429", anthropic.RateLimitError, (429, "rate_limit_error")),
        ("overloaded_529", anthropic.InternalServerError, (529, "overloaded_error")),
        ("server_error_500", anthropic.InternalServerError, (500, "api_error")),
        ("spend_limit_429", anthropic.RateLimitError, (429, "rate_limit_error")),
        ("usage_limit_400", anthropic.BadRequestError, (400, "invalid_request_error")),
    ],
)
def test_a_failed_call_raises_what_the_sdk_raises_for_the_real_one(
    client: anthropic.Anthropic, sandbox: Sandbox, fault: str, error: type[anthropic.APIStatusError], found: Found
) -> None:
    status, kind = found
    spoil(sandbox, fault)
    with pytest.raises(error) as refused:
        ask(client)
    assert refused.value.status_code == status
    assert refused.value.type == kind
    assert sandbox.control.stats()["calls"] == 0
    assert len(results(ask(client))) == 3  # the retry succeeds


def test_a_rate_limit_says_how_long_to_wait_and_a_spend_limit_does_not(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    spoil(sandbox, "rate_limit_429", retry_after_s=7)
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(client)
    assert limited.value.response.headers["retry-after"] == "7"
    spoil(sandbox, "spend_limit_429")
    with pytest.raises(anthropic.RateLimitError) as spent:
        ask(client)
    assert spent.value.error_code == "enforced_spend_limit_reached"
    assert "retry-after" not in spent.value.response.headers


def test_a_reset_connection_is_a_connection_error(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    spoil(sandbox, "connection_reset")
    with pytest.raises(anthropic.APIConnectionError):
        ask(client)
    assert sandbox.control.stats()["by_status"] == {"reset": 1}
    assert len(results(ask(client))) == 3


def test_a_refusal_is_an_answer_without_content(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    spoil(sandbox, "refuse")
    message = ask(client)
    assert message.stop_reason == "refusal"
    assert message.content == []
    assert message.stop_details is not None
    assert message.stop_details.type == "refusal"


def test_a_truncation_stops_inside_the_answer(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    whole = said(ask(client))
    spoil(sandbox, "truncate")
    message = ask(client)
    assert message.stop_reason == "max_tokens"
    assert whole.startswith(said(message))
    assert len(said(message)) < len(whole)


@pytest.mark.parametrize("fault", ["malformed", "prose"])
def test_an_answer_can_be_no_json(sandbox: Sandbox, client: anthropic.Anthropic, fault: str) -> None:
    spoil(sandbox, fault)
    message = ask(client)
    assert message.stop_reason == "end_turn"
    with pytest.raises(ValueError):
        json.loads(said(message))


def test_a_malformed_tool_call_nests_json_as_text(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    spoil(sandbox, "malformed")
    tool = {"name": "record_results", "input_schema": pack_schema()}
    choice = {"type": "tool", "name": "record_results"}
    block = ask(client, model=OLD_MODEL, tools=[tool], tool_choice=choice, output_config={}).content[0]
    assert block.type == "tool_use"
    assert isinstance(block.input["results"], str)


@pytest.mark.parametrize(
    ("fault", "ordinals"),
    [
        ("drop_block", {2}),
        ("repeat_block", {4}),
        ("unknown_block", {4}),
    ],
)
def test_blocks_go_missing_come_twice_or_were_never_asked_for(
    sandbox: Sandbox, client: anthropic.Anthropic, fault: str, ordinals: set[int]
) -> None:
    spoil(sandbox, fault)
    found = [entry["n"] for entry in results(ask(client))]
    assert {len(found)} == ordinals
    assert (4 in found) == (fault == "unknown_block")


def test_results_come_in_another_order(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    plain = results(ask(client))
    spoil(sandbox, "reorder")
    assert results(ask(client)) == plain[::-1]


def test_a_field_has_the_wrong_type(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    plain = results(ask(client))
    spoil(sandbox, "wrong_type")
    spoilt = results(ask(client))
    assert spoilt[1:] == plain[1:]
    assert [name for name in plain[0] if spoilt[0][name] != plain[0][name]] == ["quote"]
    assert isinstance(spoilt[0]["quote"], dict)


def test_slow_is_slow(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    spoil(sandbox, "slow", slow_s=0.2)
    started_s = time.monotonic()
    ask(client)
    assert time.monotonic() - started_s >= 0.2


def test_a_script_finds_text_inside_a_packs_block(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    sandbox.control.set_faults({"scripted": [{"when_text_contains": '"net 30"', "fault": "refuse", "times": None}]})
    assert ask(client, TEXTS[0]).stop_reason == "end_turn"
    assert ask(client, TEXTS[0], TEXTS[1]).stop_reason == "refusal"


def test_the_same_seed_gives_the_same_outcomes_through_the_wire(sandbox: Sandbox, client: anthropic.Anthropic) -> None:
    def outcomes(seed: int) -> list[str]:
        sandbox.control.set_faults({"seed": seed, "rates": {"refuse": 0.3, "server_error_500": 0.3}})
        found = []
        for number in range(20):
            try:
                found.append(str(ask(client, f"text {number}").stop_reason))
            except anthropic.InternalServerError:
                found.append("500")
        return found

    first = outcomes(1)
    assert len(set(first)) == 3
    assert outcomes(1) == first
    assert outcomes(2) != first


def test_a_plan_that_is_not_understood_is_refused_and_changes_nothing(
    sandbox: Sandbox, client: anthropic.Anthropic
) -> None:
    spoil(sandbox, "refuse")
    with pytest.raises(urllib.error.HTTPError) as refused:
        sandbox.control.set_faults({"rates": {"nonsense": 1}})
    with refused.value as answer:
        assert answer.code == 400
        assert b"no fault is called" in answer.read()
    assert ask(client).stop_reason == "refusal"
