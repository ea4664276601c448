"""Passages that were found for one request reach every vendor's model after the shared prefix, which stays shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.custom import CustomProvider
from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.openai import OpenAIProvider
from tokenopt_pipeline.domain.outputs import Finding, decode_answer
from tokenopt_pipeline.domain.prompts import output_schema, system_prompt, user_prompt
from tokenopt_pipeline.domain.reference_prompts import found_references
from tokenopt_pipeline.domain.requests import ModelRequest
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.ports import Provider
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.factories import a_model, a_prompt_block, a_request, a_schema

#: Vendor -> (provider, its URL's attribute, model, cache mark).
_VENDORS: dict[str, tuple[Callable[..., Provider], str, str, str]] = {
    "anthropic": (AnthropicProvider, "anthropic_url", "claude-sonnet-5-5", "5m"),
    "openai": (OpenAIProvider, "openai_url", "gpt-6-luna", "5m"),
    "google": (GoogleProvider, "google_url", "gemini-3.8-flash", "auto"),
    "custom": (CustomProvider, "custom_url", "local-model", "auto"),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


def a_pack(vendor: str, found: str) -> ModelRequest:
    """One block under instructions that are long enough to be cached."""
    schema, ref = a_schema(), ModelRef(provider=vendor, model=_VENDORS[vendor][2])
    return a_request(
        model=a_model(ref=ref) if vendor == "custom" else ModelTable().spec(ref),
        system="Extract what is said, and nothing else.\n" * 700 + system_prompt(schema),
        found=found,
        user=user_prompt(schema, [a_prompt_block()]),
        output_schema=output_schema(schema),
        max_tokens=2_000,
        cache_ttl=_VENDORS[vendor][3],
    )


@pytest.mark.parametrize("vendor", _VENDORS)
def test_requests_with_other_passages_read_the_same_prefix_and_are_answered(vendor: str, sandbox: Sandbox) -> None:
    opened, url, _, _ = _VENDORS[vendor]
    provider = opened(api_key="sandbox", base_url=getattr(sandbox, url))
    passages = [f"Rule {n}: write numbers below {n} in words. " * 30 for n in (10, 20)]
    bare = provider.complete(a_pack(vendor, ""), timeout_s=30)
    told = [provider.complete(a_pack(vendor, found_references([each])), timeout_s=30) for each in passages]

    for response in told:
        answer = decode_answer(
            response.text,
            stop=response.stop,
            asked=1,
            ordinal_key="n",
            violation=JsonSchemaValidators().violation_of(a_schema()),
        )
        assert [output.finding for output in answer.outputs] == [Finding.VALID]
        # The passages are paid for, by every request anew.
        assert response.usage.input_total > bare.usage.input_total + 200
        if vendor != "custom":
            assert response.usage.cache_read > 5_000
            assert response.usage.input_uncached > bare.usage.input_uncached - bare.usage.input_total + 200


def test_passages_are_part_of_what_a_model_is_told_and_not_of_what_requests_share() -> None:
    bare, told = a_request(), a_request(found="A rule.")
    assert told.fingerprint not in (bare.fingerprint, a_request(found="Another rule.").fingerprint)
    assert told.prefix == bare.prefix
    assert replace(told, found="").fingerprint == bare.fingerprint
