from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tokenopt_pipeline.domain.bridge_policy import BridgePolicy
from tokenopt_pipeline.domain.conversations import (
    CALL_TOKENS,
    KeptConversation,
    KeptTurn,
    conversation_usd,
    expected_conversation,
)
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline_tests.factories import a_response


def dollars(usage: TokenUsage) -> Decimal:
    """15 dollars a million output tokens, 6 for writing them to a cache."""
    return (usage.output * Decimal(15) + usage.cache_write_1h * Decimal(6)) / 1_000_000


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        # 100,000 tokens of the dearest kind are $1.50, and the plain call follows.
        (BridgePolicy(max_tokens=100_000, max_usd=None), "1.52"),
        (BridgePolicy(max_tokens=100_000, max_usd=Decimal("0.5")), "0.52"),
        (BridgePolicy(max_tokens=10_000, max_usd=Decimal("0.5")), "0.17"),
    ],
)
def test_a_pack_may_cost_its_conversation_up_to_the_bounds_and_the_plain_call(
    bounds: BridgePolicy, expected: str
) -> None:
    assert conversation_usd(bounds, dollars, Decimal("0.02")) == Decimal(expected)


def test_writing_to_a_cache_counts_where_it_is_dearer_than_the_answer() -> None:
    bounds = BridgePolicy(max_tokens=1_000_000, max_usd=None)
    assert conversation_usd(bounds, lambda u: Decimal(9 if u.cache_write_1h else 3), Decimal(1)) == Decimal(10)


@pytest.mark.parametrize("missing", ["output", "cache_write_1h"])
def test_without_a_price_nothing_is_known_of_what_it_may_cost(missing: str) -> None:
    def partly(usage: TokenUsage) -> Decimal | None:
        return None if getattr(usage, missing) else Decimal(1)

    assert conversation_usd(BridgePolicy(), partly, Decimal(1)) is None
    assert conversation_usd(BridgePolicy(), dollars, None) is None


def test_a_kept_conversation_knows_its_age_what_it_took_and_how_it_stood_before_a_call() -> None:
    began = datetime(2026, 11, 26, 6, tzinfo=UTC)
    turns = tuple(
        KeptTurn(response=a_response(), usd=None, told=(), spent_ms=ms, call_no=no) for no, ms in ((3, 1_500), (8, 500))
    )
    kept = KeptConversation(began_at=began, turns=turns)
    assert kept.spent_s == 2.0
    assert kept.age_h(began + timedelta(hours=5, minutes=30)) == 5.5
    assert kept.before(8) == KeptConversation(began_at=began, turns=turns[:1])
    assert kept.before(3).turns == ()


def test_a_round_of_tools_reads_what_is_kept_once_more_and_pays_for_the_rest_twice() -> None:
    call = TokenUsage(input_uncached=500, cache_read=3_000, output=200)

    shared = expected_conversation(call, found_tokens=3_000, keeps_turns=False, results_tokens=400)
    assert shared == TokenUsage(
        input_uncached=500 + 500 + 400 + CALL_TOKENS, cache_read=6_000, output=200 + CALL_TOKENS
    )
    plain = TokenUsage(input_uncached=3_500, output=200)
    again = expected_conversation(plain, found_tokens=0, keeps_turns=False, results_tokens=400)
    assert again == TokenUsage(input_uncached=7_000 + 400 + CALL_TOKENS, output=200 + CALL_TOKENS)


def test_turns_that_are_kept_are_written_once_and_read_by_the_next() -> None:
    call = TokenUsage(input_uncached=500, cache_read=3_000, output=200)

    kept = expected_conversation(call, found_tokens=3_500, keeps_turns=True, results_tokens=400)

    assert kept == TokenUsage(
        cache_write_5m=500 + 400 + CALL_TOKENS, cache_read=3_000 + 3_500, output=200 + CALL_TOKENS
    )
