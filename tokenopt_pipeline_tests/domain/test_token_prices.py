"""Prices that a person declares, per million tokens of each class."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.token_prices import parse_price
from tokenopt_pipeline.domain.usage import TokenUsage

_WHOLE = {"input": 2, "output": "10", "cache_read": 0.2, "cache_write_5m": 2.5, "cache_write_1h": 4}


def test_every_class_costs_its_own_price() -> None:
    usage = TokenUsage(
        input_uncached=1_000_000, cache_read=100_000, cache_write_5m=10_000, cache_write_1h=1_000, output=100
    )
    # 2 + 0.02 + 0.025 + 0.004 + 0.001
    assert parse_price(_WHOLE, "p").usd(usage) == Decimal("2.05")


def test_cache_use_without_a_price_of_its_own_costs_what_plain_input_costs() -> None:
    price = parse_price({"input": 3, "output": 0}, "p")
    assert price.usd(TokenUsage(cache_read=500_000, cache_write_5m=500_000)) == 3


def test_one_amount_has_one_spelling_and_is_read_back() -> None:
    same = [parse_price({"input": amount, "output": 0}, "p") for amount in (1, "1.00", 1.0)]
    assert [p.document() for p in same] == [same[0].document()] * 3
    whole = parse_price(_WHOLE, "p")
    assert parse_price(whole.document(), "p") == whole
    assert parse_price({"input": 1000, "output": 0}, "p").document()["input"] == "1000"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (7, "p = 7, allowed a mapping"),
        ({"input": 1}, "p.output is missing"),
        ({"output": 1}, "p.input is missing"),
        ({"input": 1, "output": 1, "inputs": 1}, "p: unknown key 'inputs'; known: input"),
        ({"input": -1, "output": 1}, "p.input = -1, allowed dollars per million tokens from 0"),
        ({"input": 1, "output": 10_001}, "p.output = 10001"),
        ({"input": "NaN", "output": 1}, "p.input = 'NaN'"),
        ({"input": "two", "output": 1}, "p.input = 'two'"),
        ({"input": True, "output": 1}, "p.input = True"),
    ],
)
def test_what_is_no_price_is_refused_in_one_line(value: object, told: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        parse_price(value, "p")
    assert told in str(refusal.value)
