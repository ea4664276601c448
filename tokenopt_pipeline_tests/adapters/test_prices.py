"""List prices against hand-computed ones (docs: Anthropic's price page as bundled with genai-prices 0.2.3, dollars per MTok)."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters import prices
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.model_overrides import parse_models
from tokenopt_pipeline.domain.places import Places
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.routing import ModelRef, parse_model_ref
from tokenopt_pipeline.domain.usage import TokenUsage


def usd(model: str, provider: str = "anthropic", /, **tokens: int) -> Decimal | None:
    return ListPrices().usd(ModelRef(provider=provider, model=model), TokenUsage(**tokens))


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        # 100 000 tokens are the last of the cheap tier: 0.10, 0.01, 0.125 (5m), 0.20 (1h), 0.50.
        ("claude-haiku-5-5", {"input_uncached": 100_000}, "0.01"),
        ("claude-haiku-5-5", {"cache_read": 100_000}, "0.001"),
        ("claude-haiku-5-5", {"cache_write_5m": 100_000}, "0.0125"),
        ("claude-haiku-5-5", {"cache_write_1h": 100_000}, "0.02"),
        ("claude-haiku-5-5", {"output": 1_000_000}, "0.5"),
        # 20 000·0.10 + 30 000·0.125 + 10 000·0.20 + 40 000·0.01 + 2 000·0.50 = 0.002 + 0.00375 + 0.002 + 0.0004 + 0.001
        (
            "claude-haiku-5-5",
            {
                "input_uncached": 20_000,
                "cache_write_5m": 30_000,
                "cache_write_1h": 10_000,
                "cache_read": 40_000,
                "output": 2_000,
            },
            "0.00915",
        ),
        # One more token and all of them, output too, cost five times as much: 100 001·0.50 + 2 000·2.50.
        ("claude-haiku-5-5", {"input_uncached": 100_001, "output": 2_000}, "0.0550005"),
        # Cached tokens make a prompt long, too: 1·0.50 + 100 000·0.05 + 1 000·2.50.
        ("claude-haiku-5-5", {"input_uncached": 1, "cache_read": 100_000, "output": 1_000}, "0.0075005"),
        # 2, 0.10, 2.5, 4, 10
        ("claude-sonnet-5-5", {"input_uncached": 1_000}, "0.002"),
        ("claude-sonnet-5-5", {"cache_read": 1_000}, "0.0001"),
        ("claude-sonnet-5-5", {"cache_write_5m": 1_000}, "0.0025"),
        ("claude-sonnet-5-5", {"cache_write_1h": 1_000}, "0.004"),
        ("claude-sonnet-5-5", {"output": 1_000}, "0.01"),
        ("claude-sonnet-5-5", {"input_uncached": 900_000}, "1.8"),
        # 3, 0.30, 3.75, 6, 15; above 200 000 tokens of prompt 6 and 22.50.
        ("claude-sonnet-4-5", {"input_uncached": 1_000, "output": 1_000}, "0.018"),
        ("claude-sonnet-4-5", {"cache_read": 1_000}, "0.0003"),
        ("claude-sonnet-4-5", {"cache_write_5m": 1_000}, "0.00375"),
        ("claude-sonnet-4-5", {"cache_write_1h": 1_000}, "0.006"),
        ("claude-sonnet-4-5", {"input_uncached": 200_001, "output": 1_000}, "1.222506"),
    ],
)
def test_the_price_is_the_list_price_to_the_last_digit(model: str, tokens: dict[str, int], dollars: str) -> None:
    found = usd(model, **tokens)
    assert isinstance(found, Decimal)
    assert found == Decimal(dollars)


def test_a_dated_name_costs_what_its_model_costs() -> None:
    assert usd("claude-sonnet-4-5-20250929", output=1_000) == Decimal("0.015")


def test_no_tokens_of_a_known_model_cost_nothing() -> None:
    assert usd("claude-haiku-5-5") == 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-haiku-9"), ("anthropic", "claude"), ("anthropic", ""), ("nobody", "claude-haiku-5-5")],
)
def test_an_unknown_price_is_unknown_and_not_zero(provider: str, model: str) -> None:
    assert usd(model, provider, input_uncached=1) is None


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        # 0.25 per million for 12 h, 0.125 for 30 min
        ("gpt-6-luna", {"cache_write_1h": 100_000}, "0.025"),
        ("gpt-6-luna", {"cache_write_5m": 100_000}, "0.0125"),
        # 100 000·0.25 + 50 000·0.125 + 20 000·0.10 + 1 000·0.50 = 0.025 + 0.00625 + 0.002 + 0.0005
        (
            "gpt-6-luna",
            {"cache_write_1h": 100_000, "cache_write_5m": 50_000, "input_uncached": 20_000, "output": 1_000},
            "0.03375",
        ),
        # Above 272 000 tokens of prompt all of it costs twice as much: 100 000·0.50 + 200 000·0.20
        ("gpt-6-luna", {"cache_write_1h": 100_000, "input_uncached": 200_000}, "0.09"),
        ("gpt-6.1-terra", {"cache_write_1h": 1_000}, "0.0025"),
    ],
)
def test_openais_long_lived_cache_writes_cost_twice_its_short_lived_ones(
    model: str, tokens: dict[str, int], dollars: str
) -> None:
    assert usd(model, "openai", **tokens) == Decimal(dollars)


def test_a_policys_price_goes_before_the_list_and_gives_unknown_models_one() -> None:
    declared = {"openai/gpt-6-luna": {"price": {"input": 1, "output": 2}}, "local/llama": {"token_ratio": 1.0}}
    prices = ListPrices(
        parse_models({**declared, "local/qwen": {"price": {"input": 0, "output": 0}}}, Places(), servers=["local"])
    )
    used = TokenUsage(input_uncached=1_000_000, output=1_000_000)
    assert prices.usd(parse_model_ref("openai/gpt-6-luna-2026-09-01"), used) == 3
    assert prices.usd(parse_model_ref("local/qwen"), used) == 0
    assert prices.usd(parse_model_ref("local/llama"), used) is None


def test_prices_are_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert usd("claude-opus-5-5", output=1_000) == Decimal("0.02")


@pytest.mark.parametrize(
    "model", ["anthropic/claude-haiku-5-5", "openai/gpt-6-luna", "google/gemini-3.8-flash", "openai/gpt-5.4-mini"]
)
def test_a_batch_costs_half_in_every_class_that_vendors_list_so(model: str) -> None:
    ref, plain = parse_model_ref(model), ListPrices()
    usage = TokenUsage(input_uncached=1_000, cache_read=2_000, output=500)
    whole, half = plain.usd(ref, usage), plain.in_batches(0.5).usd(ref, usage)
    assert whole is not None
    assert half == whole / 2


def test_where_a_list_has_a_batch_price_of_its_own_the_share_has_no_say() -> None:
    ref = parse_model_ref("anthropic/claude-haiku-5-5")
    usage = TokenUsage(input_uncached=1_000_000)
    assert ListPrices().in_batches(0.9).usd(ref, usage) == ListPrices().in_batches(0.5).usd(ref, usage)


def test_googles_cached_tokens_cost_in_batches_what_they_cost_elsewhere_where_the_list_says_so() -> None:
    ref, usage = parse_model_ref("google/gemini-2.5-flash"), TokenUsage(cache_read=1_000_000)
    assert ListPrices().in_batches(0.5).usd(ref, usage) == ListPrices().usd(ref, usage)
    assert ListPrices().in_batches(0.5).usd(ref, TokenUsage(output=1_000_000)) == Decimal("1.25")


def test_a_price_that_a_policy_declares_is_multiplied_by_its_share() -> None:
    price = {"input": "2", "output": "4"}
    policy = resolve([("test", {"models": {"anthropic/claude-haiku-5-5": {"price": price}}})]).policy
    ref = parse_model_ref("anthropic/claude-haiku-5-5")
    found = ListPrices(policy.models).in_batches(0.4).usd(ref, TokenUsage(input_uncached=1_000_000))
    assert found == Decimal("0.8")


def test_a_model_without_a_price_has_none_in_batches() -> None:
    assert ListPrices().in_batches(0.5).usd(parse_model_ref("openai/no-such-model"), TokenUsage(output=1)) is None


_TOKENS = st.integers(0, 1_000_000)
_USAGES = st.builds(
    TokenUsage,
    input_uncached=_TOKENS,
    cache_write_5m=_TOKENS,
    cache_write_1h=_TOKENS,
    cache_read=_TOKENS,
    output=_TOKENS,
)
_MODELS = st.sampled_from(
    [
        "anthropic/claude-haiku-5-5",
        "anthropic/claude-sonnet-4-5-20250929",
        "openai/gpt-6-luna",
        "google/gemini-3.8-flash",
        "google/gemini-2.5-flash",
        "openai/no-such-model",
    ]
)


@given(ref=_MODELS.map(parse_model_ref), usage=_USAGES, processing=st.sampled_from([None, "batch"]))
def test_a_remembered_price_is_the_price_that_the_list_is_asked_for(
    ref: ModelRef, usage: TokenUsage, processing: str | None
) -> None:
    minute = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    asked = prices._listed_usd.__wrapped__(ref, usage, minute, processing)
    for _ in range(2):
        assert prices._listed_usd(ref, usage, minute, processing) == asked


class _At:
    """A clock that tests set."""

    at = datetime(2026, 11, 26, tzinfo=UTC)

    @classmethod
    def now(cls, _: object) -> datetime:
        return cls.at


def test_a_price_that_changes_with_the_time_of_day_is_right_on_both_sides_of_the_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DeepSeek's peak begins at 01:00 UTC: 0.30 instead of 0.15 per million."""
    monkeypatch.setattr(prices, "datetime", _At)
    found = []
    for hour, minute, second in ((0, 59, 59), (1, 0, 0), (0, 59, 30), (1, 0, 1)):
        monkeypatch.setattr(_At, "at", datetime(2026, 11, 26, hour, minute, second, tzinfo=UTC))
        found.append(usd("deepseek-flash", "deepseek", input_uncached=1_000_000))
    assert found == [Decimal("0.15"), Decimal("0.3"), Decimal("0.15"), Decimal("0.3")]


def test_a_run_asks_the_list_for_the_same_price_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def counted(usage: genai_prices.Usage, model: str, **rest: object) -> object:
        asked.append((model, rest))
        return calc_price(usage, model, **rest)  # type: ignore[call-overload]

    calc_price = genai_prices.calc_price
    monkeypatch.setattr(prices, "datetime", _At)
    monkeypatch.setattr(genai_prices, "calc_price", counted)
    prices._listed_usd.cache_clear()
    ref, usage = parse_model_ref("anthropic/claude-haiku-5-5"), TokenUsage(input_uncached=5_000, output=10)
    found = {ListPrices().in_batches(0.5).usd(ref, usage) for _ in range(3)}
    assert len(found) == 1
    # Whether batches have a price of their own, and that price.
    assert len(asked) == 3
