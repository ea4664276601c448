"""A file of results that lacks something is never taken for whole, and is not downloaded for ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.batch_results import MOST_DOWNLOADS, ResultCounts, Worth, judge


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(1, 5))
def test_a_file_is_whole_only_when_every_request_has_its_line(
    asked: int, found: int, unknown: int, garbled: int, downloads: int
) -> None:
    found = min(found, asked)
    counts = ResultCounts(asked=asked, found=found, unknown=unknown, garbled=garbled)
    judged = judge(counts, downloads=downloads)
    assert (judged.worth is Worth.WHOLE) == (found == asked)
    assert (judged.worth is Worth.AGAIN) == (found < asked and downloads < MOST_DOWNLOADS)
    assert bool(judged.why) == (found < asked)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"broken": "the file ends in the middle of a line"}, "the file ends in the middle of a line"),
        ({"unknown": 4}, "all 4 lines are about requests of another batch"),
        ({"found": 3, "unknown": 1}, "2 of 5 requests have no line; lines: 1 unknown"),
        (
            {"found": 4, "garbled": 1, "repeated": 2},
            "1 of 5 requests have no line; lines: 1 garbled, 2 repeated",
        ),
        ({}, "5 of 5 requests have no line"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(counts: dict[str, Any], why: str) -> None:
    assert judge(ResultCounts(asked=5, **counts), downloads=1).why == why
