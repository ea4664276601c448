"""A window grows by one per round of answers, halves once per round of refusals, and keeps within what is left."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.flow import FlowWindow, Headroom, open_window
from tokenopt_pipeline_tests.domain.generated import examples


def refused(window: FlowWindow, *, began_s: float = 0.0, now_s: float = 10.0, pause_s: float = 1.0) -> FlowWindow:
    return window.refused(None, began_s=began_s, pause_s=pause_s, now_s=now_s)


def test_a_window_starts_as_wide_as_the_policy_lets_it() -> None:
    assert open_window(8).room(0, 0.0) == 8
    assert open_window(8).room(8, 0.0) == 0
    assert open_window(8).room(9, 0.0) == 0


def test_a_refusal_halves_the_window_and_everybody_waits() -> None:
    window = refused(open_window(8))
    assert (window.current(11.0), window.decreases) == (4, 1)
    assert (window.room(0, 10.9), window.room(0, 11.0)) == (0, 4)


def test_requests_that_were_refused_together_halve_it_once() -> None:
    window = open_window(8)
    for n in range(8):
        window = refused(window, began_s=9.0 + n / 100, now_s=10.0 + n / 100)
    assert (window.current(99.0), window.decreases) == (4, 1)
    later = refused(window, began_s=12.0, now_s=13.0)
    assert (later.current(99.0), later.decreases) == (2, 2)


def test_a_longer_pause_is_never_cut_short_by_a_shorter_one() -> None:
    window = refused(refused(open_window(2), pause_s=30.0), now_s=11.0, pause_s=1.0)
    assert window.paused_until_s == 40.0
    assert window.paused(5.0, now_s=11.0).paused_until_s == 40.0
    assert window.paused(50.0, now_s=11.0).paused_until_s == 61.0


def test_a_windows_worth_of_answers_makes_it_wider_by_one_until_the_ceiling() -> None:
    window = refused(open_window(8))
    widths = []
    for _ in range(4 + 5 + 6 + 7 + 8 + 8):
        window = window.answered(None, now_s=20.0)
        widths.append(window.current(20.0))
    assert widths[-1] == 8
    assert all(after - before in (0, 1) for before, after in pairwise(widths))
    assert widths[3] in (4, 5)


def test_it_never_closes_so_that_an_answer_can_tell_more() -> None:
    window = open_window(1)
    for n in range(5):
        window = refused(window, began_s=100.0 * n, now_s=100.0 * n + 1)
    assert window.current(1_000.0) == 1
    nothing_left = window.answered(Headroom(requests_left=0, reset_s=60.0), now_s=1_000.0)
    assert nothing_left.room(0, 1_001.0) == 1


@pytest.mark.parametrize(
    ("headroom", "width", "shrinks"),
    [
        pytest.param(Headroom(requests_left=3, reset_s=30.0), 3, 1, id="few requests"),
        # 5 000 // 1 200
        pytest.param(Headroom(tokens_left=5_000, tokens_of_request=1_200, reset_s=30.0), 4, 1, id="few tokens"),
        pytest.param(
            Headroom(requests_left=3, tokens_left=2_000, tokens_of_request=1_000, reset_s=9.0), 2, 1, id="the scarcer"
        ),
        pytest.param(Headroom(requests_left=8, reset_s=30.0), 8, 0, id="just enough"),
        pytest.param(
            Headroom(requests_left=500, tokens_left=10**6, tokens_of_request=1_000, reset_s=1.0), 8, 0, id="plenty"
        ),
        pytest.param(Headroom(tokens_left=5, reset_s=30.0), 8, 0, id="tokens of unknown use"),
        pytest.param(Headroom(requests_left=1), 8, 0, id="nobody knows until when"),
        pytest.param(None, 8, 0, id="nothing said"),
    ],
)
def test_it_shrinks_ahead_of_time_to_what_is_left(headroom: Headroom | None, width: int, shrinks: int) -> None:
    window = open_window(8).answered(headroom, now_s=100.0)
    assert (window.current(100.1), window.shrinks) == (width, shrinks)


def test_what_is_left_bounds_it_until_it_is_there_again_and_counts_once() -> None:
    window = open_window(8)
    for left in (3, 2, 1):
        window = window.answered(Headroom(requests_left=left, reset_s=30.0), now_s=100.0)
    assert (window.current(129.9), window.current(130.0), window.shrinks) == (1, 8, 1)
    freed = window.answered(Headroom(requests_left=100, reset_s=30.0), now_s=101.0)
    assert freed.current(101.0) == 8
    assert freed.story(101.0) == {"window": 8, "ceiling": 8, "decreases": 0, "shrinks": 1}


def test_a_run_with_another_ceiling_finds_the_window_under_its_own() -> None:
    fresh, learnt = open_window(8), refused(open_window(8))
    assert fresh.under(8) is fresh
    assert (fresh.under(32).current(0.0), fresh.under(2).current(0.0)) == (32, 2)
    assert (learnt.under(32).current(99.0), learnt.under(2).current(99.0)) == (4, 2)


@examples(100)
@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.sampled_from("ar"), st.integers(0, 40), st.integers(0, 20)), max_size=60),
)
def test_whatever_happens_it_stays_between_one_and_its_ceiling(
    ceiling: int, events: list[tuple[str, int, int]]
) -> None:
    window, now_s = open_window(ceiling), 0.0
    for what, left, passed in events:
        now_s += passed
        headroom = Headroom(requests_left=left, reset_s=10.0)
        if what == "a":
            window = window.answered(headroom, now_s=now_s)
        else:
            window = window.refused(headroom, began_s=now_s - 5, pause_s=2.0, now_s=now_s)
        assert 1 <= window.current(now_s) <= ceiling
        assert 1.0 <= window.size <= ceiling
        assert 0 <= window.room(left, now_s) <= ceiling
