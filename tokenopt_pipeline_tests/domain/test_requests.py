"""A request's fingerprint is that of what is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.domain.requests import StopReason, Turn
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.tools import ToolResult
from tokenopt_pipeline_tests.factories import a_model, a_request, a_tool

_RESULT = ToolResult(call_id="c1", text="a")
_TURN = Turn(carry="[]", results=(_RESULT,))
_SCHEMA = a_tool().input_schema


def test_equal_requests_have_equal_fingerprints() -> None:
    assert a_request().fingerprint == a_request().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"model": a_model(ref=ModelRef(provider="anthropic", model="other"))}, id="model"),
        pytest.param({"model": a_model(output_method="tool")}, id="output method"),
        pytest.param({"model": a_model(thinking='{"type":"disabled"}')}, id="thinking"),
        pytest.param({"system": "Extract!"}, id="system"),
        pytest.param({"user": "<blocks> "}, id="user"),
        pytest.param({"output_schema": {"type": "array"}}, id="output schema"),
        pytest.param({"max_tokens": 513}, id="max_tokens"),
        pytest.param({"cache_ttl": "5m"}, id="cache mark"),
        pytest.param({"tools": (a_tool(),)}, id="tools"),
        pytest.param({"turns": (Turn(carry="[]"),)}, id="turns"),
    ],
)
def test_whatever_is_sent_changes_the_fingerprint(changes: dict[str, Any]) -> None:
    assert a_request(**changes).fingerprint != a_request().fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"context_tokens": 1}, id="context"),
        pytest.param({"token_ratio": 9.0}, id="ratio"),
        pytest.param({"request_overhead_tokens": 1}, id="overhead"),
    ],
)
def test_what_we_merely_know_of_a_model_does_not(changes: dict[str, Any]) -> None:
    assert a_request(model=a_model(**changes)).fingerprint == a_request().fingerprint


def test_requests_without_tools_keep_the_fingerprints_they_had_before_there_were_tools() -> None:
    """Stored runs refer to them."""
    assert a_request().fingerprint == "83e61b18ef419be6bd85ae4e63d7dd978b1694719f7aa0de1270435ac61bb874"
    other = a_request(cache_ttl="1h", user="x").fingerprint
    assert other == "19cea190f436a5486f54d242d06c6398397788ea2190f153ee5daa78b795075f"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"tools": (a_tool(name="find"),)}, id="name"),
        pytest.param({"tools": (a_tool(description="Finds."),)}, id="description"),
        pytest.param({"tools": (a_tool(input_schema={"type": "object"}),)}, id="schema"),
        pytest.param({"tools": (a_tool(), a_tool(name="z"))}, id="a second tool"),
        pytest.param({"answer_now": True}, id="no more tools"),
        pytest.param({"turns": ()}, id="no turn"),
        pytest.param({"turns": (replace(_TURN, carry="[1]"),)}, id="carry"),
        pytest.param({"turns": (replace(_TURN, note="Go on."),)}, id="note"),
        pytest.param({"turns": (replace(_TURN, results=()),)}, id="no result"),
        pytest.param({"turns": (replace(_TURN, results=(replace(_RESULT, text="b"),)),)}, id="result"),
        pytest.param({"turns": (replace(_TURN, results=(replace(_RESULT, is_error=True),)),)}, id="an error"),
        pytest.param({"turns": (replace(_TURN, results=(replace(_RESULT, call_id="c2"),)),)}, id="another call"),
        pytest.param({"turns": (_TURN, _TURN)}, id="a second turn"),
    ],
)
def test_whatever_is_sent_of_a_conversation_changes_the_fingerprint(changes: dict[str, Any]) -> None:
    conversation: dict[str, Any] = {"tools": (a_tool(),), "turns": (_TURN,)}
    assert a_request(**{**conversation, **changes}).fingerprint != a_request(**conversation).fingerprint


def test_what_a_server_keeps_to_itself_does_not() -> None:
    tools = (a_tool(), a_tool(output_schema={"type": "object"}), a_tool(input_schema={"$schema": "x", **_SCHEMA}))
    assert len({a_request(tools=(tool,)).fingerprint for tool in tools}) == 1


def test_the_stop_reasons_are_the_three_that_decoding_tells_apart_and_the_wait_for_tools() -> None:
    assert set(StopReason) == {"complete", "truncated", "refused", "tools"}
