"""What was billed for vectors."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill, is_vendors, tokens_at_most


def test_requests_add_up_and_one_without_a_price_makes_the_dollars_unknown() -> None:
    first = EmbeddingBill().plus(10, Decimal("0.1"))
    second = first.plus(5, Decimal("0.2"))
    assert second == EmbeddingBill(requests=2, tokens=15, usd=Decimal("0.3"))
    assert first.plus(7, Decimal(1), requests=3) == EmbeddingBill(requests=4, tokens=17, usd=Decimal("1.1"))
    assert second.plus(1, None).usd is None
    assert second.plus(1, None).plus(1, Decimal(1)).usd is None


def test_what_came_after_an_earlier_bill_is_told_apart() -> None:
    first = EmbeddingBill().plus(10, Decimal("0.1"))
    assert first.plus(5, Decimal("0.2")).less(first) == EmbeddingBill(requests=1, tokens=5, usd=Decimal("0.2"))
    assert first.plus(5, None).less(first).usd is None


def test_only_vendors_are_paid() -> None:
    assert is_vendors("openai/text-embedding-3-small")
    assert not is_vendors("minilm")


@given(st.lists(st.text(max_size=40), max_size=4))
def test_no_text_has_more_tokens_than_are_expected_at_most(texts: list[str]) -> None:
    assert sum(map(O200kTokenizer().count, texts)) <= tokens_at_most(texts)
