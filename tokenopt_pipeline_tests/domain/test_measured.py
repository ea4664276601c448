"""A fitted table answers for blocks of a type of a task, the specific row first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokenopt_pipeline.domain.measured import MeasuredCheck, MeasuredRates, MeasuredTask, TierRate

_TIERS = {"small": TierRate(quality=0.8, usd=0.001), "mid": TierRate(quality=0.9, usd=0.01)}
_CHECK = MeasuredCheck(doubted=0.2, wrong_doubted=0.8, wrong_undoubted=0.05, next_wrong_doubted=0.3)


def _row(block_type: str | None = None, task: str = "t", check: MeasuredCheck | None = None) -> MeasuredTask:
    return MeasuredTask(task=task, block_type=block_type, n=50, tiers=_TIERS, check=check)


def test_the_row_of_a_block_type_comes_before_that_of_all_types() -> None:
    rates = MeasuredRates(source="s", models={}, tasks=(_row(), _row("table"), _row(task="other")))
    assert rates.of("t", "table", 3) == _row("table")
    assert rates.of("t", "paragraph", 3) == _row()
    assert rates.of("unknown", "table", 3) is None


def test_a_row_speaks_of_schemas_within_its_bounds_alone() -> None:
    simple, complex_ = replace(_row(), max_complexity=4), replace(_row(), min_complexity=6)
    rates = MeasuredRates(source="s", models={}, tasks=(simple, complex_))
    assert [rates.of("t", "table", n) for n in (4, 5, 6)] == [simple, None, complex_]


def test_a_row_is_called_by_what_it_speaks_of() -> None:
    row = replace(_row("table"), min_complexity=2, max_complexity=4)
    assert row.name == "t / table, complexity at most 4, complexity at least 2"
    assert _row().name == "t"


def test_the_value_of_a_check_follows_from_the_row_s_rates() -> None:
    value = _row(check=_CHECK).value_of_check("small", "mid")
    assert value is not None
    assert value.usd == pytest.approx(0.001 + 0.2 * 0.01)
    assert value.quality == pytest.approx(1 - 0.8 * 0.05 - 0.2 * 0.3)
    assert value.quality_next == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("check", "cheap", "following"), [(None, "small", "mid"), (_CHECK, "large", "mid"), (_CHECK, "small", "large")]
)
def test_what_was_not_measured_has_no_value(check: MeasuredCheck | None, cheap: str, following: str) -> None:
    assert _row(check=check).value_of_check(cheap, following) is None
