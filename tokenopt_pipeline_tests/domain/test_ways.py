"""What a tier or a check is expected to give a task follows from its rows and, as far as they are few, from all rows."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.doubts import ANY_CHECK, HARD
from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.ways import Key, Way, ways_of
from tokenopt_pipeline_tests.domain.recorded import MID_USD, SMALL_USD, a_row, mixed, rows


def _by_name(ways: list[Way]) -> dict[str, Way]:
    return {way.name: way for way in ways}


def test_each_tier_alone_is_a_way_with_its_price_and_its_distance_to_the_second_tier() -> None:
    cells: dict[Key, list[OutcomeRow]] = {Key(task="t"): rows("t", mixed([(8, (1, 1)), (2, (0, 1))]))}
    found = _by_name(ways_of(cells, ["small", "mid"], checks=True)[Key(task="t")])
    assert set(found) == {"small", "mid"}
    assert (found["small"].usd, found["small"].gain) == pytest.approx((SMALL_USD, -0.2))
    assert (found["mid"].usd, found["mid"].gain) == pytest.approx((MID_USD, 0.0))


def test_a_single_tier_is_the_only_way() -> None:
    cells: dict[Key, list[OutcomeRow]] = {Key(task="t"): rows("t", [(1, 1)])}
    assert [way.name for way in ways_of(cells, ["mid"], checks=True)[Key(task="t")]] == ["mid"]


def test_a_third_tier_is_measured_against_the_second() -> None:
    recorded = [a_row(f"q{i}", scores={"small": 0.0, "mid": 0.5, "large": 1.0}) for i in range(10)]
    found = _by_name(ways_of({Key(task="t"): recorded}, ["small", "mid", "large"], checks=True)[Key(task="t")])
    assert (found["small"].gain, found["large"].gain) == pytest.approx((-0.5, 0.5))


def _checked_rows() -> list[OutcomeRow]:
    return [
        *rows("bad", [(0, 1)] * 6, doubts=["schema"]),
        *rows("mild", mixed([(3, (0, 1)), (3, (1, 1))]), doubts=["text_partly_in_text"]),
        *rows("fine", [(1, 1)] * 8, doubts=[]),
    ]


def test_a_check_escalates_the_worthiest_doubts_first_and_loses_only_what_it_lets_pass() -> None:
    found = ways_of({Key(task="t"): _checked_rows()}, ["small", "mid"], checks=True)[Key(task="t")]
    checked = [way for way in found if way.escalate_on]
    assert ["schema" in way.escalate_on for way in checked] == [True, True]
    assert ["text_partly_in_text" in way.escalate_on for way in checked] == [False, True]
    assert [way.gain for way in checked] == [pytest.approx(-3 / 20), pytest.approx(0.0)]
    assert [way.usd for way in checked] == [
        pytest.approx(SMALL_USD + 6 / 20 * MID_USD),
        pytest.approx(SMALL_USD + 12 / 20 * MID_USD),
    ]


def test_hard_doubts_that_nobody_has_seen_escalate_too() -> None:
    found = ways_of({Key(task="t"): _checked_rows()}, ["small", "mid"], checks=True)[Key(task="t")]
    (first, _) = [way for way in found if way.escalate_on]
    assert {*HARD, ANY_CHECK} <= set(first.escalate_on)


def test_without_checks_doubts_count_for_nothing() -> None:
    found = ways_of({Key(task="t"): _checked_rows()}, ["small", "mid"], checks=False)[Key(task="t")]
    assert [way.name for way in found] == ["small", "mid"]
    assert found[0].gain == pytest.approx(-9 / 20)


def test_what_a_doubt_is_worth_elsewhere_does_not_make_a_task_s_loss_larger() -> None:
    hopeless = rows("a", [(0, 1)] * 30, doubts=["off_topic"])
    sound = rows("b", mixed([(28, (1, 1)), (2, (0, 1))]), doubts=["off_topic"])
    found = ways_of({Key(task="a"): hopeless, Key(task="b"): sound}, ["small", "mid"], checks=True)
    assert _by_name(found[Key(task="b")])["small"].gain == pytest.approx(-2 / 30)


def test_a_task_with_few_rows_is_drawn_towards_the_middle_of_all() -> None:
    cells: dict[Key, list[OutcomeRow]] = {
        Key(task=name): rows(name, mixed([(80, (1, 1)), (20, (0, 1))])) for name in ("a", "b", "c", "d")
    }
    cells[Key(task="few")] = rows("few", [(0, 1), (0, 1)])
    found = ways_of(cells, ["small", "mid"], checks=False)
    assert -1 < _by_name(found[Key(task="few")])["small"].gain < -0.19
    assert _by_name(found[Key(task="a")])["small"].gain == pytest.approx(-0.2, abs=0.02)


def test_a_block_type_is_a_cell_of_its_own() -> None:
    cells: dict[Key, list[OutcomeRow]] = {
        Key(task="t", block_type="table"): rows("t", [(0, 1)] * 5),
        Key(task="t", block_type="paragraph"): rows("t", [(1, 1)] * 5),
    }
    found = ways_of(cells, ["small", "mid"], checks=False)
    assert [found[key][0].gain for key in cells] == [pytest.approx(-1.0), pytest.approx(0.0)]
