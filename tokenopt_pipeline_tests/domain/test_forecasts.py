"""Forecasts add up packs into three amounts that bracket what is billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.domain.caching import AUTOMATIC, LONG, SHORT
from tokenopt_pipeline.domain.forecasts import Amounts, Forecast, Keeping, Load, forecast, scaled, usage_of
from tokenopt_pipeline.domain.learning import SeenPrefix
from tokenopt_pipeline.domain.packing import PlannedPack
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.factories import a_block, a_model

#: Dollars per token of each class.
_PRICES = {"input_uncached": 3, "cache_write_5m": 4, "cache_write_1h": 6, "cache_read": 1, "output": 15}


def _usd(usage: TokenUsage) -> Decimal:
    """Twice the price above 5,000 tokens of input."""
    plain = sum(price * getattr(usage, name) for name, price in _PRICES.items())
    return Decimal(plain * (2 if usage.input_total > 5_000 else 1))


def _pack(**changes: Any) -> PlannedPack:
    figures = {"input_tokens": 100, "output_tokens": 40, "max_tokens": 512, "bound_tokens": 60, **changes}
    return PlannedPack(blocks=(a_block(),), **figures)


def _load(*packs: PlannedPack, cliff: int | None = None, **model: Any) -> Load:
    load = Load(model=a_model(request_overhead_tokens=100, **model), cliff_tokens=cliff)
    load.add(packs, prefix_tokens=900)
    return load


def _forecast(load: Load, **changes: Any) -> Forecast:
    settings = {
        "prefix_tokens": 900,
        "keeping": Keeping(ttl=None),
        "is_learnt": True,
        "overflow_probability": 0.01,
        **changes,
    }
    return forecast(load, _usd, **settings)


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (None, TokenUsage(input_uncached=2_050, output=7)),
        (AUTOMATIC, TokenUsage(input_uncached=1_050, cache_read=1_000, output=7)),
        (SHORT, TokenUsage(input_uncached=50, cache_write_5m=1_000, cache_read=1_000, output=7)),
        (LONG, TokenUsage(input_uncached=50, cache_write_1h=1_000, cache_read=1_000, output=7)),
    ],
)
def test_the_first_call_writes_what_the_others_read(ttl: str | None, expected: TokenUsage) -> None:
    assert usage_of(2, 1_000, 50, 7, Keeping(ttl=ttl)) == expected


def test_whoever_does_not_find_the_prefix_writes_it_again() -> None:
    keeping = Keeping(ttl=LONG, share=0.5, low_share=0.25)
    assert usage_of(10, 1_000, 50, 7, keeping) == TokenUsage(
        input_uncached=50, cache_write_1h=6_000, cache_read=4_000, output=7
    )
    told = _forecast(_load(*[_pack()] * 10), keeping=keeping)
    assert (told.low.usage.cache_write_1h, told.expected.usage.cache_write_1h) == (1_000, 6_000)
    assert told.high.usage.cache_write_1h > 7_000


def test_no_calls_are_billed_nothing() -> None:
    assert usage_of(0, 1_000, 0, 0, Keeping(ttl=SHORT)) == TokenUsage()
    assert _forecast(_load()).high == Amounts()


def test_the_expected_amount_is_what_the_packs_say() -> None:
    expected = _forecast(_load(_pack(), _pack(input_tokens=300))).expected
    assert expected.usage == TokenUsage(input_uncached=2_400, output=80)
    assert expected.calls == 2
    assert expected.usd == 3 * 2_400 + 15 * 80


def test_a_prefix_that_was_billed_before_is_taken_as_it_was_billed() -> None:
    seen = SeenPrefix(tokens=950, line_ratio=1.5, beside=10, calls=9)
    usage = _forecast(_load(_pack(), _pack()), keeping=Keeping(ttl=SHORT), seen=seen).expected.usage
    assert usage == TokenUsage(input_uncached=320, cache_write_5m=950, cache_read=950, output=80)


def test_learnt_lengths_bracket_the_answers_and_a_few_packs_may_overflow() -> None:
    told = _forecast(_load(*[_pack()] * 100))
    # sqrt(0.1 * 2,000^2 + 0.9 * 100 * 20^2) = 660 around 4,000
    assert told.low.usage.output == 3_340
    # 1 expected and 2.33 standard deviations: 4 packs have half of what they hold asked again.
    assert told.high.calls == 104
    assert told.high.usage.output == round(4_660.3 * 1.02)
    assert told.low.usage.input_total == told.expected.usage.input_total


def test_lengths_that_nobody_has_seen_may_be_anything_up_to_max_tokens() -> None:
    told = _forecast(_load(_pack(), _pack()), is_learnt=False)
    assert (told.low.usage.output, told.expected.usage.output, told.high.usage.output) == (16, 80, 1_024)
    assert (told.low.calls, told.high.calls) == (2, 4)


def test_a_tokenizer_that_is_not_known_exactly_widens_the_amounts() -> None:
    told = _forecast(_load(*[_pack(input_tokens=150)] * 25, token_ratio=1.0, token_ratio_guard=1.5))
    # A tenth of 0.5, which 25 calls leave of it: of 25 * (1,000 + 100)
    assert told.expected.usage.input_total == 27_500
    assert told.low.usage.input_total == 24_750
    assert told.high.usage.input_total > 30_250


@pytest.mark.parametrize("ratios", [{"token_ratio": 0.0, "token_ratio_guard": 0.0}, {"token_ratio": 0.0}])
def test_a_model_that_bills_no_text_is_planned_with_too(ratios: dict[str, Any]) -> None:
    assert _forecast(_load(_pack(), **ratios)).expected.usage.input_total <= 200


def test_a_pack_above_a_price_step_costs_what_it_costs() -> None:
    load = _load(_pack(), _pack(input_tokens=6_000), cliff=5_000)
    assert _forecast(load).expected.usd == 3 * 1_100 + 15 * 40 + 2 * (3 * 7_000 + 15 * 40)


def test_an_unknown_price_makes_dollars_unknown() -> None:
    settings: dict[str, Any] = {
        "prefix_tokens": 9,
        "keeping": Keeping(ttl=None),
        "is_learnt": True,
        "overflow_probability": 0.01,
    }
    told = forecast(_load(_pack()), lambda _: None, **settings)
    assert told.expected.usd is None
    assert (told + _forecast(_load(_pack()))).expected.usd is None


def test_forecasts_add_up() -> None:
    one = _forecast(_load(_pack()))
    both = one + one
    assert (both.expected.calls, both.high.usd) == (2, (one.high.usd or 0) * 2)
    assert Forecast() + one == one


def test_a_conversation_of_two_requests_is_billed_for_both() -> None:
    def talk(plain: TokenUsage) -> TokenUsage:
        return plain + TokenUsage(cache_read=plain.input_total, output=10)

    plain = _forecast(_load(_pack(), _pack())).expected
    told = _forecast(_load(_pack(), _pack()), talk=talk).expected
    assert (plain.calls, told.calls) == (2, 4)
    assert told.usage == plain.usage + TokenUsage(cache_read=plain.usage.input_total, output=20)
    assert _forecast(_load(), talk=talk).expected == Amounts()


def test_what_every_request_carries_beside_is_added_to_its_lines() -> None:
    plain, told = (_forecast(_load(_pack(), _pack()), beside_tokens=n).expected.usage for n in (0, 30))
    assert told == plain + TokenUsage(input_uncached=60)


def test_a_usage_is_scaled_in_every_class() -> None:
    assert scaled(TokenUsage(input_uncached=3, cache_read=10, output=1), 2) == TokenUsage(
        input_uncached=6, cache_read=20, output=2
    )
