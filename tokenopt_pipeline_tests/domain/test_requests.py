"""A request's fingerprint is that of what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.requests import StopReason
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline_tests.factories import a_model, a_request


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


def test_the_stop_reasons_are_the_three_that_decoding_tells_apart() -> None:
    assert set(StopReason) == {"complete", "truncated", "refused"}
