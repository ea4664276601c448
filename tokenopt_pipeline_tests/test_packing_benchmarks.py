"""Packs are never dearer than their blocks alone: on list prices, over a thousand random workloads with skewed answers."""

from __future__ import annotations

import pytest

from benchmarks.cost_model import PRICES, bill, random_workload
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.usage import TokenUsage


@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_no_workload_is_dearer_in_packs_than_one_block_per_call(first: int) -> None:
    for seed in range(first, first + 100):
        work = random_workload(seed)
        packed, alone = bill(work, packed=True), bill(work, packed=False)
        assert packed.usd <= alone.usd, seed
        assert packed.failed <= alone.failed, seed
        assert packed.calls <= alone.calls, seed


def test_a_thousand_workloads_save_a_quarter_and_output_hardly_differs() -> None:
    bills = [(bill(w, packed=True), bill(w, packed=False)) for w in map(random_workload, range(200))]
    assert sum(p.usd for p, _ in bills) < sum(a.usd for _, a in bills) * 3 / 4
    assert sum(p.output_tokens for p, _ in bills) < 1.01 * sum(a.output_tokens for _, a in bills)


def test_the_cost_models_prices_are_the_list_prices() -> None:
    model = random_workload(1).model
    PRICES.step(model)
    for usage in (TokenUsage(input_uncached=900, output=70), TokenUsage(cache_read=150_000, input_uncached=9)):
        assert PRICES.usd(model.ref, usage) == ListPrices().usd(model.ref, usage)
