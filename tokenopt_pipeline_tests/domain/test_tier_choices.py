"""Dearer answers are bought where a dollar buys most, within the budget, and the same every time."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.errors import BudgetExceeded
from tokenopt_pipeline.domain.measured import MeasuredRates, MeasuredTask, TierRate
from tokenopt_pipeline.domain.tier_choices import (
    Cell,
    Option,
    cells_of,
    ladder,
    reaching,
    steps,
    whole_cells_within,
    within_budget,
)
from tokenopt_pipeline_tests.domain.generated import examples


def _option(name: str, usd: str, quality: float) -> Option:
    return Option(name=name, usd=Decimal(usd), quality=quality)


_EASY = Cell(
    name="easy",
    n_blocks=100,
    options=(_option("small", "1", 0.90), _option("mid", "10", 0.92), _option("large", "50", 0.93)),
)
_HARD = Cell(name="hard", n_blocks=50, options=(_option("small", "1", 0.30), _option("mid", "10", 0.90)))

_OPTIONS = st.lists(
    st.builds(
        Option,
        name=st.sampled_from("abcdefgh"),
        usd=st.decimals(0, 10, places=2),
        quality=st.floats(0, 1).map(lambda q: round(q, 3)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda o: o.name,
)
_CELLS = st.lists(_OPTIONS, min_size=1, max_size=4).flatmap(
    lambda lists: st.tuples(*(st.integers(1, 9) for _ in lists)).map(
        lambda sizes: [
            Cell(name=f"c{i}", n_blocks=n, options=tuple(options))
            for i, (options, n) in enumerate(zip(lists, sizes, strict=True))
        ]
    )
)


def test_a_fitted_table_and_predicted_prices_make_the_cells() -> None:
    tiers = {"small": TierRate(quality=0.5, usd=0.1), "mid": TierRate(quality=0.9, usd=0.2)}
    rows = (
        MeasuredTask(task="t", block_type=None, n=50, tiers=tiers),
        MeasuredTask(task="u", block_type="table", n=50, tiers={"large": TierRate(quality=1.0, usd=1.0)}),
    )
    measured = MeasuredRates(source="s", models={}, tasks=rows)
    blocks = {("u", "table"): 3, ("t", "table"): 7, ("v", "table"): 1, ("t", "heading"): 2}
    cells, unknown = cells_of(measured, blocks, usd={"small": Decimal("0.01"), "mid": Decimal("0.04")}, complexity=1)
    options = (_option("small", "0.01", 0.5), _option("mid", "0.04", 0.9))
    assert cells == [
        Cell(name="t/heading", n_blocks=2, options=options),
        Cell(name="t/table", n_blocks=7, options=options),
    ]
    # Nothing is known of v, and of u only what a tier does that may not be used.
    assert unknown == [("u", "table"), ("v", "table")]
    assert within_budget(cells, Decimal("0.18")) == {"t/heading": {"mid": 2}, "t/table": {"mid": 1, "small": 6}}


def test_a_ladder_leaves_out_what_is_dearer_and_no_better_or_beaten_by_a_mixture() -> None:
    options = [
        _option("small", "1", 0.5),
        _option("same", "2", 0.5),
        _option("bent", "5", 0.55),
        _option("mid", "6", 0.9),
        _option("large", "20", 0.8),
    ]
    assert [o.name for o in ladder(options)] == ["small", "mid"]


@examples(100)
@given(_OPTIONS)
def test_each_rung_costs_more_is_better_and_is_worth_less_than_the_one_before(options: list[Option]) -> None:
    rungs = ladder(options)
    assert rungs[0].usd == min(o.usd for o in options)
    assert rungs[-1].quality == max(o.quality for o in options)
    slopes = [(b.quality - a.quality) / float(b.usd - a.usd) for a, b in pairwise(rungs)]
    assert slopes == sorted(slopes, reverse=True)
    assert all(slope > 0 for slope in slopes)


def test_the_hard_blocks_get_the_dear_tier_first() -> None:
    assert [(s.cell.name, s.end.name) for s in steps([_EASY, _HARD])] == [
        ("hard", "mid"),
        ("easy", "mid"),
        ("easy", "large"),
    ]
    assert within_budget([_EASY, _HARD], Decimal(600)) == {"easy": {"small": 100}, "hard": {"mid": 50}}


def test_the_last_step_is_taken_for_as_many_blocks_as_fit() -> None:
    assert within_budget([_EASY, _HARD], Decimal(150 + 9 * 20)) == {
        "easy": {"small": 100},
        "hard": {"small": 30, "mid": 20},
    }
    assert within_budget([_EASY, _HARD], Decimal(10_000)) == {"easy": {"large": 100}, "hard": {"mid": 50}}


def test_a_budget_below_the_cheapest_choice_is_refused_with_what_is_needed() -> None:
    with pytest.raises(BudgetExceeded) as refusal:
        within_budget([_EASY, _HARD], Decimal(149))
    assert (refusal.value.limit_usd, refusal.value.needed_usd) == (Decimal(149), Decimal(150))


def _spent(cells: list[Cell], chosen: dict[str, dict[str, int]]) -> Decimal:
    return sum((o.usd * chosen[c.name].get(o.name, 0) for c in cells for o in c.options), Decimal(0))


def _quality(cells: list[Cell], chosen: dict[str, dict[str, int]]) -> float:
    return sum(o.quality * chosen[c.name].get(o.name, 0) for c in cells for o in c.options)


@examples(100)
@given(_CELLS, st.decimals(0, 400, places=2), st.decimals(0, 50, places=2))
def test_a_choice_never_passes_its_budget_and_a_larger_budget_is_never_worse(
    cells: list[Cell], budget: Decimal, more: Decimal
) -> None:
    cheapest = sum((min(o.usd for o in c.options) * c.n_blocks for c in cells), Decimal(0))
    if cheapest > budget:
        with pytest.raises(BudgetExceeded):
            within_budget(cells, budget)
        return
    chosen = {name: dict(counts) for name, counts in within_budget(cells, budget).items()}
    assert _spent(cells, chosen) <= budget
    assert all(sum(chosen[c.name].values()) == c.n_blocks for c in cells)
    assert within_budget(list(reversed(cells)), budget) == chosen
    larger = {name: dict(counts) for name, counts in within_budget(cells, budget + more).items()}
    assert _quality(cells, larger) >= _quality(cells, chosen) - 1e-9


@examples(80)
@given(_CELLS, st.floats(0, 1))
def test_a_quality_is_reached_when_any_choice_of_whole_cells_reaches_it(cells: list[Cell], share: float) -> None:
    best = sum(max(o.quality for o in c.options) * c.n_blocks for c in cells)
    wanted = best * share
    chosen = reaching(cells, wanted)
    assert sum(chosen[c.name].quality * c.n_blocks for c in cells) >= wanted - 1e-6


def test_near_the_cheapest_choice_is_found() -> None:
    # Every choice of the two cells, by hand: the cheapest that reaches 90 + 45 points is small, mid.
    assert {n: o.name for n, o in reaching([_EASY, _HARD], 135.0).items()} == {"easy": "small", "hard": "mid"}
    choices = list(product(_EASY.options, _HARD.options))
    reached = [
        (100 * e.usd + 50 * h.usd, e.name, h.name) for e, h in choices if 100 * e.quality + 50 * h.quality >= 135
    ]
    assert min(reached)[1:] == ("small", "mid")


def test_a_step_that_the_last_one_made_superfluous_is_taken_back() -> None:
    trifle = Cell(name="trifle", n_blocks=1, options=(_option("small", "0", 0.0), _option("mid", "0.1", 1.0)))
    heavy = Cell(name="heavy", n_blocks=100, options=(_option("small", "0", 0.0), _option("mid", "1", 0.5)))
    chosen = reaching([trifle, heavy], 50.0)
    assert {n: o.name for n, o in chosen.items()} == {"trifle": "small", "heavy": "mid"}


def test_what_cannot_be_reached_gets_the_best() -> None:
    assert {n: o.name for n, o in reaching([_EASY, _HARD], 1e9).items()} == {"easy": "large", "hard": "mid"}


def test_whole_cells_fit_into_a_budget_the_most_valuable_first_and_a_rung_at_a_time() -> None:
    def names(budget: int) -> dict[str, str]:
        return {n: o.name for n, o in whole_cells_within([_EASY, _HARD], Decimal(budget)).items()}

    assert names(150 + 450) == {"easy": "small", "hard": "mid"}
    assert names(150 + 449) == {"easy": "small", "hard": "small"}
    assert names(150 + 450 + 900) == {"easy": "mid", "hard": "mid"}
    assert names(150 + 450 + 4_900) == {"easy": "large", "hard": "mid"}
    assert names(1) == {"easy": "small", "hard": "small"}
    big_first = Cell(
        name="big", n_blocks=1, options=(_option("a", "0", 0.0), _option("b", "9", 0.9), _option("c", "10", 0.95))
    )
    assert whole_cells_within([big_first], Decimal(5))["big"].name == "a"
