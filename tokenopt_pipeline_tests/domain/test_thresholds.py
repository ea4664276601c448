"""A task is split by length where that uses what the aim leaves, and never more."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.outcomes import OutcomeRow
from tokenopt_pipeline.domain.thresholds import Threshold, find_thresholds
from tokenopt_pipeline.domain.ways import Key, Way
from tokenopt_pipeline_tests.domain.generated import examples
from tokenopt_pipeline_tests.domain.recorded import a_row

_SMALL = Way(tier="small", usd=0.001, gain=-0.1)
_MID = Way(tier="mid", usd=0.01, gain=0.0)
_CHECKED = Way(tier="small", escalate_on=("schema",), usd=0.002, gain=-0.05)
_KEY: Key = Key(task="t")


def _rows(n: int, **changes: Any) -> list[OutcomeRow]:
    # Longer blocks cost more at the mid tier.
    return [
        a_row(
            f"q{i:03}",
            n_tokens=10 * (i + 1),
            scores={"small": float(i % 10 > 0)},
            usd={"mid": 0.001 * (i + 5)},
            **changes,
        )
        for i in range(n)
    ]


def _found(
    recorded: list[OutcomeRow], slack: float, chosen: Way = _MID, ways: tuple[Way, ...] = (_SMALL, _MID)
) -> Threshold | None:
    return find_thresholds({_KEY: recorded}, {_KEY: ways}, {_KEY: chosen}, slack, "mid").get(_KEY)


def test_the_longest_blocks_go_first_because_they_cost_most() -> None:
    found = _found(_rows(50), slack=1.0)
    assert found is not None
    # Ten rows lose 0.1 each: all that the slack has.
    assert (found.n, found.at_least, found.n_tokens, found.tier) == (10, True, 410, "small")
    assert found.loss <= 1.0


def test_the_shortest_blocks_go_first_where_they_cost_most() -> None:
    recorded = [a_row(f"q{i:03}", n_tokens=i, scores={"small": 1.0}, usd={"mid": 1.0 / (i + 1)}) for i in range(40)]
    found = _found(recorded, slack=0.5)
    assert found is not None
    assert (found.at_least, found.n_tokens, found.n) == (False, 4, 5)


def test_blocks_of_one_length_cannot_be_split() -> None:
    assert _found([a_row(f"q{i}", n_tokens=7) for i in range(40)], slack=100.0) is None


def test_where_the_moved_blocks_are_measurably_worse_their_own_loss_counts() -> None:
    recorded = [a_row(f"q{i:03}", n_tokens=i, scores={"small": float(i < 60)}) for i in range(100)]
    found = _found(recorded, slack=5.0)
    assert found is not None
    # The forty longest are all wrong; the short ones lose what the task is expected to lose.
    assert (found.at_least, found.n) == (False, 50)


def test_too_little_saving_is_not_worth_a_rule() -> None:
    assert _found(_rows(50), slack=0.0) is None
    # One block costs nearly everything, and it is of middle length.
    lopsided = [a_row(f"q{i:03}", n_tokens=i, usd={"mid": 9.0 if i == 25 else 0.0011}) for i in range(50)]
    assert _found(lopsided, slack=1.0) is None


def test_a_task_that_is_checked_or_already_cheap_is_not_split() -> None:
    assert _found(_rows(50), slack=1.0, chosen=_CHECKED) is None
    assert _found(_rows(50), slack=1.0, chosen=_SMALL) is None
    assert _found(_rows(50), slack=1.0, ways=(_MID, _CHECKED)) is None


def test_tasks_share_the_slack_the_most_saving_one_first() -> None:
    dear: Key = Key(task="dear")
    light: Key = Key(task="light")
    cells: dict[Key, list[OutcomeRow]] = {
        dear: _rows(50),
        light: [a_row(f"q{i:03}", n_tokens=i, scores={"small": 1.0}) for i in range(50)],
    }
    both: dict[Key, tuple[Way, ...]] = dict.fromkeys(cells, (_SMALL, _MID))
    found = find_thresholds(cells, both, dict.fromkeys(cells, _MID), 1.0, "mid")
    assert list(found) == [dear]
    wide = find_thresholds(cells, both, dict.fromkeys(cells, _MID), 6.0, "mid")
    assert list(wide) == [dear, light]
    assert sum(t.loss for t in wide.values()) <= 6.0


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=40), st.floats(0, 3))
def test_no_threshold_loses_more_than_the_slack(blocks: list[tuple[int, bool]], slack: float) -> None:
    recorded = [a_row(f"q{i}", n_tokens=n, scores={"small": float(right)}) for i, (n, right) in enumerate(blocks)]
    found = _found(recorded, slack)
    if found is not None:
        moved = [
            r
            for r in recorded
            if (r.facts.n_tokens >= found.n_tokens) == found.at_least or r.facts.n_tokens == found.n_tokens
        ]
        assert found.loss <= slack
        assert len(moved) == found.n
