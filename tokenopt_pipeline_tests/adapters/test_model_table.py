"""The declared model table."""

from __future__ import annotations

import json

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable, _table
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.fingerprints import canonical_json
from tokenopt_pipeline.domain.models import ModelSpec
from tokenopt_pipeline.domain.routing import ModelRef, RoutingPolicy
from tokenopt_pipeline.domain.usage import TokenUsage


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


def test_a_model_that_refuses_a_forced_tool_is_never_asked_with_one() -> None:
    """Forced tool use is a 400 on these (migration guides of 2026-10)."""
    assert {spec(name).output_method for name in ("claude-sonnet-5-5", "claude-opus-5-5")} == {"json_schema"}


@pytest.mark.parametrize("name", ["claude-sonnet-9", "claude-haiku-5-5-2026", "claude-haiku-5-5-20261001-v2", ""])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(NotFound, match=r"is not in the model table; known: claude-haiku-4-5, .*claude-sonnet-5-5"):
        spec(name)


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="provider 'nobody' is unknown; known: anthropic"):
        spec("claude-haiku-5-5", "nobody")
