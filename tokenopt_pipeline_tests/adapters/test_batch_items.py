"""What a batch says of one request is read as what a call of its own would have said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
from tokenopt_pipeline.adapters.batch_lines import moment
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.google_batches import GoogleBatches
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.openai import OpenAIProvider, request_body, strict_schema
from tokenopt_pipeline.adapters.openai_batches import OpenAIBatches
from tokenopt_pipeline.domain.errors import (
    ContextWindowExceeded,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TokenOptError,
)
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline_tests.factories import a_request

ANTHROPIC = AnthropicBatches(AnthropicProvider(api_key="unused"))
OPENAI = OpenAIBatches(OpenAIProvider(api_key="unused"))
GOOGLE = GoogleBatches(GoogleProvider(api_key="unused"))


def errored(kind: str, message: str) -> dict[str, Any]:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return {"custom_id": "a", "result": {"type": "errored", "error": error}}


def answered(status: int, **error: Any) -> dict[str, Any]:
    return {"custom_id": "a", "response": {"status_code": status, "request_id": "r", "body": {"error": error}}}


@pytest.mark.parametrize(
    ("vendor", "line", "kind"),
    [
        (ANTHROPIC, errored("invalid_request_error", "max_tokens: too many"), RequestRejected),
        (ANTHROPIC, errored("invalid_request_error", "prompt is too long: 9 tokens"), ContextWindowExceeded),
        (ANTHROPIC, errored("api_error", "Internal server error"), ProviderUnavailable),
        (ANTHROPIC, errored("overloaded_error", "Overloaded"), RateLimited),
        # As older exchanges have it, without the outer object.
        (
            ANTHROPIC,
            {"custom_id": "a", "result": {"type": "errored", "error": {"type": "invalid_request_error"}}},
            RequestRejected,
        ),
        (ANTHROPIC, {"custom_id": "a", "result": {"type": "expired"}}, ProviderUnavailable),
        (ANTHROPIC, {"custom_id": "a", "result": {"type": "canceled"}}, ProviderUnavailable),
        (ANTHROPIC, {"custom_id": "a", "result": {"type": "succeeded", "message": {}}}, ProviderUnavailable),
        (ANTHROPIC, {"custom_id": "a"}, ProviderUnavailable),
        (OPENAI, answered(400, message="bad", code="invalid_value"), RequestRejected),
        (OPENAI, answered(400, message="long", code="context_length_exceeded"), ContextWindowExceeded),
        (OPENAI, answered(500, message="oops"), ProviderUnavailable),
        (OPENAI, {"custom_id": "a", "response": None, "error": {"code": "batch_expired"}}, ProviderUnavailable),
        (OPENAI, {"custom_id": "a", "response": {"status_code": 200, "body": None}}, ProviderUnavailable),
        (OPENAI, {"custom_id": "a"}, ProviderUnavailable),
        (GOOGLE, {"key": "a", "error": {"code": 3, "message": "bad"}}, RequestRejected),
        (GOOGLE, {"key": "a", "error": {"code": 400, "message": "bad"}}, RequestRejected),
        (GOOGLE, {"key": "a", "error": {"code": 13, "message": "oops"}}, ProviderUnavailable),
        (GOOGLE, {"key": "a", "error": {"code": 14, "message": "later"}}, RateLimited),
        (GOOGLE, {"key": "a", "error": {"code": 1, "message": "cancelled"}}, ProviderUnavailable),
        (GOOGLE, {"key": "a", "error": {"message": "what"}}, ProviderUnavailable),
        (GOOGLE, {"key": "a", "response": {}}, ProviderUnavailable),
        (GOOGLE, {"key": "a"}, ProviderUnavailable),
    ],
)
def test_a_request_without_an_answer_is_told_apart_as_a_call_would_be(
    vendor: Any, line: dict[str, Any], kind: type[TokenOptError]
) -> None:
    with pytest.raises(TokenOptError) as told:
        vendor.response(json.dumps(line), a_request(), simulated=True)
    assert type(told.value) is kind


def a_request_to(vendor: str, model: str) -> Any:
    return a_request(model=ModelTable().spec(ModelRef(provider=vendor, model=model)))


def test_a_request_in_a_batch_has_the_very_body_of_a_call() -> None:
    request = a_request_to("openai", "gpt-6-luna")
    told = json.loads(OPENAI.line("key-1", request))
    assert told == {
        "custom_id": "key-1",
        "method": "POST",
        "url": "/v1/responses",
        "body": request_body(request, strict_schema(request)),
    }


def test_googles_body_is_written_by_its_own_sdk_and_nothing_is_sent() -> None:
    request = a_request_to("google", "gemini-3.8-flash")
    told = json.loads(GOOGLE.line("key-1", request))
    assert told["key"] == "key-1"
    body = told["request"]
    assert body["contents"] == [{"role": "user", "parts": [{"text": request.user}]}]
    assert body["systemInstruction"]["parts"] == [{"text": request.system}]
    assert body["generationConfig"]["maxOutputTokens"] == request.max_tokens
    # Twice the same, and no state between them.
    assert GOOGLE.line("key-1", request) == GOOGLE.line("key-1", request)


@pytest.mark.parametrize(
    "written",
    [0, 0.0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:00", datetime(1970, 1, 1)],  # noqa: DTZ001
)
def test_times_are_read_as_vendors_write_them(written: object) -> None:
    assert moment(written, "v") == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("written", [None, "soon", True, 1e300, {}])
def test_what_is_no_time_is_said_to_be_none(written: object) -> None:
    with pytest.raises(ProviderUnavailable, match="a batch has no time that can be read"):
        moment(written, "v")
