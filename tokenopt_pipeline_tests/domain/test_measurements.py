"""Rows say what cells counted, against a baseline of the same blocks, and nothing that was not measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.domain.measurements import BlockOutcome, Cell, CellKey, Row, Timing, compare, timings

_KEY = CellKey(workload="w", scenario="baseline", blocks=3)
_COUNTS = {"calls": 3, "violations": 0, "output": 30}


def _answered(value: object) -> BlockOutcome:
    return BlockOutcome(status="ai_complete", answer={"field": value})


_BASELINE = Cell(
    key=_KEY,
    kind="simulated",
    digest="d",
    counts=_COUNTS,
    usd=1.0,
    outcomes=(_answered(1), _answered(2), BlockOutcome(status="failed", error="Refused")),
    spent={"wall_s": 1.0, "cpu_s": 0.003, "block_p50_ms": None},
)


def _packed(**changed: Any) -> Cell:
    return replace(_BASELINE, key=replace(_KEY, scenario="worker_batching"), **changed)


def _row(*cells: Cell, marks: tuple[bool | None, ...] = ()) -> Row:
    return compare([_BASELINE, *cells], {"w": marks})[-1]


def test_a_row_states_the_share_saved_and_the_share_of_fields_that_agree() -> None:
    row = _row(_packed(usd=0.25, outcomes=(_answered(1), _answered(9), BlockOutcome(status="skipped", rule="r"))))
    assert (row.saved, row.fields, row.agreement, row.quality_change) == (0.75, 2, 0.5, -0.5)
    assert row.quality_low is not None
    assert row.quality_high is not None
    assert row.quality_low < -0.5 < row.quality_high
    assert row.outcomes == {"ai_complete": 2, "skipped": 1}
    assert (row.violations, row.marked, row.lost) == (0, None, None)


def test_the_baseline_is_compared_with_itself() -> None:
    row = compare([_BASELINE], {})[0]
    assert (row.saved, row.agreement, row.measure("failed_share")) == (0.0, 1.0, 1 / 3)


def test_answers_of_other_blocks_are_not_compared() -> None:
    row = _row(_packed(digest="other"))
    assert (row.fields, row.agreement, row.quality_change) == (None, None, None)


def test_answers_without_a_field_have_no_share() -> None:
    empty = replace(_BASELINE, outcomes=(BlockOutcome(status="ai_complete", answer={}),) * 3)
    assert compare([empty], {})[0].agreement is None


def test_without_a_baseline_nothing_is_saved_and_nothing_agrees() -> None:
    row = compare([_packed()], {})[0]
    assert (row.saved, row.agreement) == (None, None)


@pytest.mark.parametrize("usd", [None, 0.0])
def test_without_a_price_of_the_baseline_no_share_is_saved(usd: float | None) -> None:
    assert compare([replace(_BASELINE, usd=usd)], {})[0].saved is None


def test_marked_answers_that_were_skipped_are_lost() -> None:
    skipped = BlockOutcome(status="skipped", rule="short_heading")
    row = _row(_packed(outcomes=(skipped, skipped, _answered(1))), marks=(True, False, True))
    assert (row.marked, row.lost, row.measure("lost_share")) == (2, 1, 0.5)


def test_nothing_marked_means_that_no_share_was_lost() -> None:
    assert _row(_packed(), marks=(False, False, False)).measure("lost_share") is None


def test_a_block_without_an_outcome_is_a_violation_and_so_is_a_missing_one() -> None:
    row = _row(_packed(counts={**_COUNTS, "violations": 2}, outcomes=(_answered(1), BlockOutcome(status="pending"))))
    assert row.violations == 4


def test_blocks_of_a_run_that_its_budget_stopped_may_be_open() -> None:
    open_ = BlockOutcome(status="pending")
    assert _row(_packed(stopped="the budget is spent", outcomes=(open_, open_, open_))).violations == 0


def test_what_was_not_available_has_its_reason_and_no_number() -> None:
    row = compare([Cell(key=_KEY, kind="simulated", digest="d", refusal="no batches")], {"w": (True, True, True)})[0]
    assert (row.not_available, row.violations, row.marked, row.measure("usd")) == ("no batches", None, None, None)


def test_repeats_that_count_differently_are_told() -> None:
    assert _row(_packed(), _packed()).repeats_identical
    row = _row(_packed(), _packed(counts={**_COUNTS, "calls": 4}))
    assert (row.repeats, row.repeats_identical) == (2, False)


def test_measures_go_by_the_names_of_counts_and_columns() -> None:
    row = _row(_packed(usd=0.5))
    assert (row.measure("calls"), row.measure("usd"), row.measure("no such number")) == (3.0, 0.5, None)
    assert row.key.scenario == "worker_batching"
    assert row.document()["scenario"] == "worker_batching"


def test_timings_are_medians_over_repeats_that_were_measured() -> None:
    slow = replace(_BASELINE, spent={"wall_s": 3.0, "cpu_s": 0.009, "block_p50_ms": None})
    refused = Cell(key=_KEY, kind="simulated", digest="d", refusal="no")
    (timing,) = timings([_BASELINE, slow, refused])
    assert (timing.repeats, timing.wall_s, timing.cpu_s_per_1000_blocks, timing.block_p50_ms) == (2, 2.0, 2.0, None)
    assert timing.document()["workload"] == "w"
    assert (timing.measure("wall_s"), timing.measure("block_p50_ms")) == (2.0, None)


def test_cells_that_could_not_be_measured_took_no_time() -> None:
    assert timings([Cell(key=_KEY, kind="simulated", digest="d", refusal="no")]) == []


def test_a_cell_whose_cpu_is_unknown_has_none_per_thousand_blocks() -> None:
    found: list[Timing] = timings([replace(_BASELINE, spent={})])
    assert found[0].cpu_s_per_1000_blocks is None


def test_scores_are_compared_where_both_are_recorded_of_the_same_blocks() -> None:
    scored = replace(_BASELINE, outcomes=tuple(replace(_answered(n), score=float(n < 2)) for n in range(3)))
    worse = _packed(outcomes=(*(replace(_answered(n), score=float(n < 1)) for n in range(2)), _answered(2)))
    row = compare([scored, worse], {})[-1]
    assert row.score == 0.5
    assert row.score_change == -0.5
    assert row.score_low is not None
    assert row.score_high is not None
    assert row.score_low < -0.5 < row.score_high
    elsewhere = compare([scored, replace(worse, digest="other")], {})[-1]
    assert (elsewhere.score, elsewhere.score_change, elsewhere.score_low) == (0.5, None, None)
    assert _row(_packed()).score is None
