"""Tokens by class add up."""

from __future__ import annotations

from dataclasses import astuple, fields

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.usage import TokenUsage, naive_usage
from tokenopt_pipeline_tests.domain.generated import examples

_COUNTS = st.tuples(*[st.integers(0, 10**9)] * len(fields(TokenUsage)))


def _usage(counts: tuple[int, ...]) -> TokenUsage:
    return TokenUsage(**dict(zip((f.name for f in fields(TokenUsage)), counts, strict=True)))


def test_the_input_classes_are_disjoint_and_their_sum_is_the_whole_input() -> None:
    usage = TokenUsage(input_uncached=1, cache_write_5m=20, cache_write_1h=300, cache_read=4_000, output=50_000)
    assert usage.cache_write == 320
    assert usage.input_total == 4_321


@examples(50)
@given(_COUNTS, _COUNTS)
def test_usages_add_class_by_class(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert astuple(_usage(one) + _usage(other)) == tuple(a + b for a, b in zip(one, other, strict=True))


def test_a_usage_of_nothing_changes_no_sum() -> None:
    usage = TokenUsage(input_uncached=1, cache_write_5m=2, cache_write_1h=3, cache_read=4, output=5)
    assert usage + TokenUsage() == usage


def test_the_naive_bill_repeats_the_prefix_for_every_block_and_caches_nothing() -> None:
    # 200 blocks of 325 tokens behind a prefix of 25,500: 200 * 25,500 + 200 * 325 = 5,165,000 in; 200 * 200 out.
    naive = naive_usage(blocks=200, prefix_tokens=25_500, block_tokens=200 * 325, answer_tokens=200)
    assert naive == TokenUsage(input_uncached=5_165_000, output=40_000)
