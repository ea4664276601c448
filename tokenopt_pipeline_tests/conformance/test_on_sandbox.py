"""Every provider against the sandbox, which speaks their wire protocols over a real socket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.domain.errors import (
    ContextWindowExceeded,
    ModelUnknown,
    ProviderUnavailable,
    RateLimited,
    SpendLimitReached,
    TokenOptError,
)
from tokenopt_pipeline.domain.outputs import Finding, decode_answer
from tokenopt_pipeline.domain.prompts import output_schema, system_prompt, user_prompt
from tokenopt_pipeline.domain.providers import Capability
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline_tests.adapters.provider_exchange import VENDORS
from tokenopt_pipeline_tests.conformance.behaviours import promised
from tokenopt_pipeline_tests.factories import a_model, a_prompt_block, a_schema

_MODELS = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-6-luna",
    "google": "gemini-3.8-flash",
    "custom": "local-model",
}
_SCHEMA = a_schema()
# Longer than the longest minimum for caching.
_LONG = " word" * 6_000

each_vendor = pytest.mark.parametrize("vendor", _MODELS)


def a_pack(vendor: str, model: str | None = None, *, system: str = "", max_tokens: int = 2_000) -> ModelRequest:
    """A pack of two blocks with an optional field."""
    ref = ModelRef(provider=vendor, model=model or _MODELS[vendor])
    spec = a_model(ref=ref) if vendor == "custom" or model else ModelTable().spec(ref)
    blocks = [a_prompt_block(ordinal=1), a_prompt_block(ordinal=2, text="The landlord may enter.")]
    return ModelRequest(
        model=spec,
        system=system_prompt(_SCHEMA) + system,
        user=user_prompt(_SCHEMA, blocks),
        output_schema=output_schema(_SCHEMA),
        max_tokens=max_tokens,
        cache_ttl="5m",
    )


def asked(sandbox: Sandbox, vendor: str, request: ModelRequest, *times: int) -> list[ModelResponse]:
    """The answers of one provider to the same request, as often as told."""
    provider = a_provider(sandbox, vendor)
    return [provider.complete(request, timeout_s=20) for _ in times or (1,)]


def a_provider(sandbox: Sandbox, vendor: str) -> Any:
    urls = {
        "anthropic": sandbox.anthropic_url,
        "openai": sandbox.openai_url,
        "google": sandbox.google_url,
        "custom": sandbox.custom_url,
    }
    return VENDORS[vendor][0](api_key="sandbox", base_url=urls[vendor])


def findings(response: ModelResponse) -> list[Finding]:
    violation = JsonSchemaValidators().violation_of(_SCHEMA)
    answer = decode_answer(response.text, stop=response.stop, asked=2, ordinal_key="n", violation=violation)
    return [output.finding for output in answer.outputs]


@promised("structured-answers")
@each_vendor
def test_every_block_has_a_valid_answer_by_the_original_schema(vendor: str) -> None:
    with running_sandbox() as sandbox:
        (response,) = asked(sandbox, vendor, a_pack(vendor))
    assert findings(response) == [Finding.VALID, Finding.VALID]
    assert (response.stop, response.simulated) == (StopReason.COMPLETE, True)
    assert min(response.usage.input_total, response.usage.output) > 0


@promised("prefix-cache")
@pytest.mark.parametrize(("vendor", "writes"), [("anthropic", True), ("openai", True), ("google", False)])
def test_a_shared_prefix_is_read_from_the_cache_the_second_time(vendor: str, writes: bool) -> None:
    with running_sandbox() as sandbox:
        first, second = asked(sandbox, vendor, a_pack(vendor, system=_LONG), 1, 2)
    assert first.usage.cache_read == 0
    assert (first.usage.cache_write_5m > 0) is writes
    assert second.usage.cache_read > 5_000
    assert second.usage.input_total == first.usage.input_total


@promised("truncation")
@each_vendor
def test_a_cut_answer_is_truncated_and_its_whole_entries_count(vendor: str) -> None:
    with running_sandbox() as sandbox:
        whole = asked(sandbox, vendor, a_pack(vendor))[0]
        cut = asked(sandbox, vendor, a_pack(vendor, max_tokens=max(whole.usage.output - 3, 16)))[0]
    assert cut.stop is StopReason.TRUNCATED
    assert set(findings(cut)) <= {Finding.VALID, Finding.TRUNCATED}
    assert Finding.TRUNCATED in findings(cut)


@promised("failing-server")
@each_vendor
@pytest.mark.parametrize(
    ("fault", "ours"),
    [
        ("rate_limit_429", RateLimited),
        ("server_error_500", ProviderUnavailable),
        ("connection_reset", ProviderUnavailable),
    ],
)
def test_a_failing_server_is_told_in_our_words_and_asked_once(
    vendor: str, fault: str, ours: type[TokenOptError]
) -> None:
    with running_sandbox() as sandbox:
        sandbox.control.set_faults({"scripted": [{"fault": fault, "nth_request": 1}]})
        with pytest.raises(ours):
            asked(sandbox, vendor, a_pack(vendor))
        # The plan spoilt one request; had the SDK tried again by itself, nothing would have been raised.
        assert findings(asked(sandbox, vendor, a_pack(vendor))[0]) == [Finding.VALID, Finding.VALID]


@promised("no-money")
@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
def test_the_end_of_the_money_is_fatal(vendor: str) -> None:
    with running_sandbox() as sandbox:
        sandbox.control.set_faults({"scripted": [{"fault": "spend_limit_429", "nth_request": 1}]})
        with pytest.raises(SpendLimitReached):
            asked(sandbox, vendor, a_pack(vendor))


@promised("headroom")
@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
def test_an_answer_says_what_is_left_of_the_limits(vendor: str) -> None:
    with running_sandbox() as sandbox:
        (response,) = asked(sandbox, vendor, a_pack(vendor))
    assert response.headroom is not None
    assert response.headroom.requests_left is not None
    assert response.headroom.tokens_left is not None


@promised("reach")
@each_vendor
def test_a_provider_can_be_asked_whether_it_is_there_for_free(vendor: str) -> None:
    with running_sandbox() as sandbox:
        assert a_provider(sandbox, vendor).reach(timeout_s=5) > 0


@promised("same-bytes")
@each_vendor
def test_the_same_pack_is_the_same_prefix_and_the_same_tokens(vendor: str) -> None:
    shuffled = dict(reversed(list(a_pack(vendor).output_schema.items())))
    with running_sandbox() as sandbox:
        one, other = (
            asked(sandbox, vendor, a_pack(vendor)),
            asked(sandbox, vendor, replace(a_pack(vendor), output_schema=shuffled)),
        )
    assert one[0].usage.input_total == other[0].usage.input_total


@promised("refusal")
@each_vendor
def test_a_refusal_is_no_error(vendor: str) -> None:
    with running_sandbox() as sandbox:
        sandbox.control.set_faults({"scripted": [{"fault": "refuse", "nth_request": 1}]})
        (response,) = asked(sandbox, vendor, a_pack(vendor))
    assert (response.stop, response.text) == (StopReason.REFUSED, "")
    assert response.refusal


@promised("unknown-model")
@each_vendor
def test_a_model_that_does_not_exist_is_unknown(vendor: str) -> None:
    with running_sandbox() as sandbox, pytest.raises(ModelUnknown):
        asked(sandbox, vendor, a_pack(vendor, "no-such-model"))


@promised("capability-ladder", "custom")
@pytest.mark.parametrize("errors", ["openai", "vllm", "text"])
@pytest.mark.parametrize("capability", list(Capability))
def test_what_a_custom_server_can_do_is_found_out(capability: Capability, errors: str) -> None:
    server: JsonObject = {
        "capability": capability.value,
        "errors": errors,
        "strict": True,
        "fenced": True,
        "usage_details": False,
        "limit_fields": ["max_completion_tokens"],
    }
    with running_sandbox(SandboxConfig.from_json({"custom": server})) as sandbox:
        provider = CustomProvider(base_url=sandbox.custom_url, api_key="sandbox")
        for _ in range(2):
            response = provider.complete(a_pack("custom"), timeout_s=20)
            assert findings(response) == [Finding.VALID, Finding.VALID]
    assert provider.capability is capability


@promised("no-room", "custom")
@pytest.mark.parametrize("errors", ["openai", "vllm", "text"])
def test_a_request_that_a_custom_server_has_no_room_for_can_be_split(errors: str) -> None:
    config = SandboxConfig.from_json({"custom": {"context_tokens": 500, "errors": errors}})
    with running_sandbox(config) as sandbox, pytest.raises(ContextWindowExceeded):
        asked(sandbox, "custom", a_pack("custom"))
