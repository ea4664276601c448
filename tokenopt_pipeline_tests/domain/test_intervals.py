"""Intervals are wide where rows are few, and hold what they promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.intervals import paired_change, ratio_saving, shrunk_means
from tokenopt_pipeline.domain.outcomes import fold_of
from tokenopt_pipeline_tests.domain.generated import examples

_DIFFERENCES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=60)


@examples(100)
@given(_DIFFERENCES)
def test_a_change_lies_in_its_interval_within_the_bounds(differences: list[float]) -> None:
    interval = paired_change(differences)
    assert -1 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low < interval.high
    assert interval.n == len(differences)


def test_rows_that_all_agree_are_no_certainty_while_they_are_few() -> None:
    few, many = paired_change([0.0] * 10), paired_change([0.0] * 1000)
    assert few.high > 0.1
    assert many.high < 0.003


def test_the_interval_is_the_adjusted_wald_interval_of_agresti_and_min() -> None:
    # 3 better, 5 worse, 92 equal: (3-5)/102 ± 1.96·sqrt((9/102 - (2/102)²)/102)
    interval = paired_change([1.0] * 3 + [-1.0] * 5 + [0.0] * 92)
    assert (interval.low, interval.high) == pytest.approx((-0.07710, 0.03789), abs=1e-4)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    # A population of -1 (5 %), +1 (15 %) and 0, its mean 0.1; samples drawn by hash.
    population = [-1.0] + [1.0] * 3 + [0.0] * 16
    hits = 0
    for sample in range(400):
        rows = [population[fold_of(f"{sample}/{i}", 20)] for i in range(60)]
        interval = paired_change(rows)
        hits += interval.low <= 0.1 <= interval.high
    assert 0.92 <= hits / 400 <= 0.99


def test_a_saving_is_told_with_how_far_rows_differ() -> None:
    even = ratio_saving([1.0] * 50, [4.0] * 50)
    assert (even.mean, even.low, even.high) == (0.75, 0.75, 0.75)
    uneven = ratio_saving([0.0, 4.0] * 25, [4.0] * 50)
    assert uneven.mean == 0.5
    assert uneven.low < 0.4
    assert uneven.high > 0.6
    assert ratio_saving([1.0], [2.0]).mean == 0.5


def test_what_was_not_measured_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no rows"):
        paired_change([])
    with pytest.raises(ValueError, match="nothing can be saved"):
        ratio_saving([], [])
    with pytest.raises(ValueError, match="nothing can be saved"):
        ratio_saving([0.0], [0.0])


def test_points_are_written_for_people() -> None:
    assert paired_change([-1.0] + [0.0] * 99).points == "-1.00 pp (-3.69 to +1.73, n = 100)"


_GROUPS = st.dictionaries(st.sampled_from("abcdef"), _DIFFERENCES, min_size=1)


@examples(100)
@given(_GROUPS, st.none() | st.floats(-1, 1))
def test_a_shrunk_mean_lies_between_the_group_s_own_and_the_middle(
    groups: dict[str, list[float]], prior: float | None
) -> None:
    shrunk = shrunk_means(groups, prior=prior)
    means = {name: sum(values) / len(values) for name, values in groups.items()}
    middles = sorted(means.values()) if prior is None else [prior]
    for name, mean in means.items():
        assert min(mean, *middles) - 1e-9 <= shrunk[name] <= max(mean, *middles) + 1e-9


def test_a_group_with_few_rows_is_drawn_further() -> None:
    groups = {"a": [0.0] * 200, "b": [0.1, -0.1] * 100, "c": [0.4, 0.2] * 100, "few": [1.0, 1.0], "many": [1.0] * 200}
    shrunk = shrunk_means(groups)
    assert 1 - shrunk["few"] > 1 - shrunk["many"] > 0


def test_fewer_than_four_groups_are_left_alone_and_empty_ones_left_out() -> None:
    assert shrunk_means({"a": [1.0], "b": [0.0], "c": [0.5], "d": []}) == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert shrunk_means({}) == {}
    assert shrunk_means({"a": []}, prior=0.5) == {}


def test_groups_that_hardly_differ_all_become_the_middle() -> None:
    shrunk = shrunk_means({name: [1.0, -1.0] * 20 for name in "abcd"})
    assert set(shrunk.values()) == {0.0}
