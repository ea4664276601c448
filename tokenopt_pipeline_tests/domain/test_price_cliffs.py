"""The length at which a request becomes dearer is found to the token."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.price_cliffs import price_cliff
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.usage import TokenUsage


def _stepped(usage: TokenUsage) -> Decimal:
    """One dollar a token, three above 7,000."""
    return Decimal(usage.input_total * (3 if usage.input_total > 7_000 else 1))


@pytest.mark.parametrize("most", [7_001, 7_002, 100_000])
def test_the_cliff_is_the_last_length_at_the_low_price(most: int) -> None:
    assert price_cliff(_stepped, most=most) == 7_000


@pytest.mark.parametrize("most", [500, 1_000, 7_000])
def test_a_cliff_that_no_request_reaches_is_none(most: int) -> None:
    assert price_cliff(_stepped, most=most) is None


@pytest.mark.parametrize("usd", [lambda _: None, lambda _: Decimal(0)], ids=["unknown", "free"])
def test_unknown_and_free_input_has_no_cliff(usd: object) -> None:
    assert price_cliff(usd, most=100_000) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "cliff"),
    [
        # x5 above 100k prompt tokens; x2 above 272k; x2 above 200k; one price (price lists, 2026-11).
        ("anthropic/claude-haiku-5-5", 100_000),
        ("openai/gpt-6.1-terra", 272_000),
        ("google/gemini-3.1-pro-preview", 200_000),
        ("anthropic/claude-sonnet-5-5", None),
    ],
)
def test_the_cliffs_of_listed_models_are_found(model: str, cliff: int | None) -> None:
    ref = parse_model_ref(model)
    assert price_cliff(lambda usage: ListPrices().usd(ref, usage), most=1_000_000) == cliff
