"""The declared model table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable, _table
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.model_overrides import parse_models
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.routing import ModelRef, RoutingPolicy, parse_model_ref
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.adapters.provider_exchange import a_request_to, answering


def spec(model: str, provider: str = "anthropic") -> ModelSpec:
    return ModelTable().spec(ModelRef(provider=provider, model=model))


NAMES = list(_table()["anthropic"]["models"])


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_a_whole_spec_that_makes_sense(name: str) -> None:
    model = spec(name)
    assert 0 < model.max_output_tokens < model.context_tokens
    assert 1 <= model.token_ratio < model.token_ratio_guard <= 2
    assert model.cache_minimum_tokens in (512, 1_024, 2_048, 4_096)
    assert model.output_method in ("json_schema", "tool")
    if model.thinking is not None:
        assert canonical_json(json.loads(model.thinking)) == model.thinking


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_has_a_list_price(name: str) -> None:
    assert ListPrices().usd(ModelRef(provider="anthropic", model=name), TokenUsage(output=1)) is not None


def test_every_model_of_the_default_routing_is_in_the_table() -> None:
    for models in RoutingPolicy().models.values():
        for model in models:
            provider, _, name = model.partition("/")
            assert spec(name, provider).ref.model == name


def test_a_dated_name_is_its_model_under_the_name_it_was_asked_by() -> None:
    dated, plain = spec("claude-sonnet-4-5-20250929"), spec("claude-sonnet-4-5")
    assert dated.ref.model == "claude-sonnet-4-5-20250929"
    assert (dated.context_tokens, dated.token_ratio) == (plain.context_tokens, plain.token_ratio)


@pytest.mark.parametrize(
    ("provider", "dated", "plain"),
    [
        ("openai", "gpt-6-luna-2026-09-01", "gpt-6-luna"),
        ("openai", "gpt-6.1-terra-2026-10-26", "gpt-6.1-terra"),
        ("google", "gemini-3.8-flash-preview-09-2026", "gemini-3.8-flash"),
        ("google", "gemini-3.8-flash-001", "gemini-3.8-flash"),
        ("google", "gemini-3.1-pro-preview", "gemini-3.1-pro-preview"),
    ],
)
def test_every_vendors_way_of_dating_a_name_is_known_and_priced(provider: str, dated: str, plain: str) -> None:
    assert replace(spec(dated, provider), ref=spec(plain, provider).ref) == spec(plain, provider)
    paid = [ListPrices().usd(ModelRef(provider=provider, model=m), TokenUsage(output=1_000)) for m in (dated, plain)]
    assert paid[0] == paid[1] is not None


def overridden(model: str, **members: object) -> ModelSpec:
    """How a policy has the model, with a server called local."""
    overrides = parse_models({model: members}, Places(), servers=("local",))
    return ModelTable(servers=("local",), overrides=overrides).spec(parse_model_ref(model))


def test_a_model_of_a_policys_own_server_has_safe_limits_until_the_policy_says_more() -> None:
    plain = ModelTable(servers=("local",)).spec(parse_model_ref("local/llama-3.3:8b"))
    assert (plain.context_tokens, plain.max_output_tokens, plain.output_method) == (4_096, 1_536, "json_schema")
    told = overridden("local/llama-3.3:8b", context_tokens=131_072, max_output_tokens=8_192)
    assert replace(plain, context_tokens=131_072, max_output_tokens=8_192) == told


def test_what_a_policy_says_of_a_vendors_model_replaces_the_table_also_under_dated_names() -> None:
    overrides = parse_models({"openai/gpt-6-luna": {"max_output_tokens": 1_000}}, Places(), servers=())
    table = ModelTable(overrides=overrides)
    for name in ("openai/gpt-6-luna", "openai/gpt-6-luna-2026-09-01"):
        assert table.spec(parse_model_ref(name)).max_output_tokens == 1_000
    assert table.spec(parse_model_ref("openai/gpt-6-sol")).max_output_tokens > 1_000


def test_a_vendors_model_that_is_newer_than_the_table_can_be_declared() -> None:
    assert overridden("openai/gpt-9-nova", context_tokens=500_000).context_tokens == 500_000


def test_the_tables_part_for_servers_is_no_provider() -> None:
    with pytest.raises(NotFound, match="provider 'custom' is unknown; known: anthropic, google, openai"):
        spec("llama", "custom")


def test_a_model_that_refuses_a_forced_tool_is_never_asked_with_one() -> None:
    """Forced tool use is a 400 on these (migration guides of 2026-10)."""
    assert {spec(name).output_method for name in ("claude-sonnet-5-5", "claude-opus-5-5")} == {"json_schema"}


@pytest.mark.parametrize("name", ["claude-sonnet-9", "claude-haiku-5-5-20", "claude-haiku-5-5-20261001-v2", ""])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(NotFound, match=r"is not in the model table; known: claude-haiku-4-5, .*claude-sonnet-5-5"):
        spec(name)


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="provider 'nobody' is unknown; known: anthropic"):
        spec("claude-haiku-5-5", "nobody")


_ENTRIES = [(vendor, name) for vendor in ("openai", "google") for name in _table()[vendor]["models"]]


@pytest.mark.parametrize(("vendor", "name"), _ENTRIES)
def test_every_entry_of_the_other_vendors_is_a_whole_spec_with_a_list_price(vendor: str, name: str) -> None:
    ref = ModelRef(provider=vendor, model=name)
    model = ModelTable().spec(ref)
    assert 0 < model.max_output_tokens < model.context_tokens
    assert 1 <= model.token_ratio < model.token_ratio_guard <= 2
    assert model.cache_minimum_tokens in (1_024, 4_096, 6_144)
    assert model.output_method == "json_schema"
    assert ListPrices().usd(ref, TokenUsage(output=1)) is not None


@pytest.mark.parametrize(("vendor", "name"), _ENTRIES)
def test_the_thinking_of_every_entry_is_something_that_the_sdk_can_send(vendor: str, name: str) -> None:
    model = ModelTable().spec(ModelRef(provider=vendor, model=name))
    assert model.thinking is not None
    assert canonical_json(json.loads(model.thinking)) == model.thinking
    exchange = answering(vendor)
    exchange.complete(a_request_to(vendor, name, thinking=model.thinking))
    sent = exchange.body.get("reasoning") or exchange.body["generationConfig"]["thinkingConfig"]
    assert sent == json.loads(model.thinking)
