"""Patterns that other people wrote can neither hang a search nor change what it finds."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.patterns import TIMEOUT_S, find, trouble_with


@given(
    pattern=st.sampled_from([r"\d+", r"a*", r"\ba", r"(?:ab|a)b?", r"[^a]", r"$"]),
    text=st.text(alphabet="abA0 \n", max_size=30),
    ignore_case=st.booleans(),
)
def test_matches_are_those_of_the_standard_library(pattern: str, text: str, ignore_case: bool) -> None:
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)

    found = [span for span in find(pattern, ignore_case, text) if span[1] > span[0]]

    assert found == [m.span() for m in re.finditer(pattern, text, flags) if m[0]]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+$", "a" * 5_000 + "!"),
        (r"(\w+\s?)*x$", "a" * 5_000 + "! x!"),
        (r"(x+x+)+y", "x" * 5_000 + "! y"),
        (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 5_000 + "!"),
    ],
)
def test_a_catastrophic_pattern_is_refused_and_would_end_in_time_anyway(pattern: str, text: str) -> None:
    assert "ms on" in (trouble_with(pattern, False) or "")

    began = time.monotonic()
    with suppress(TimeoutError):
        next(find(pattern, False, text), None)
    assert time.monotonic() - began < 100 * TIMEOUT_S


def test_a_search_that_takes_too_long_says_so() -> None:
    with pytest.raises(TimeoutError):
        next(find(r"(a+)+$", False, "a" * 5_000 + "!"), None)


@pytest.mark.parametrize("pattern", [r"(", r"[a", r"*a"])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    assert "no regular expression" in (trouble_with(pattern, False) or "")


@pytest.mark.parametrize("pattern", [r"\d+(?:st|nd|rd|th)", r"\b(?:very|quite)\b", r"(?<!x)y", r"\p{Lu}+"])
def test_an_ordinary_pattern_is_not_refused(pattern: str) -> None:
    assert trouble_with(pattern, True) is None


def test_text_beyond_a_blocks_length_is_not_searched() -> None:
    assert list(find("b", False, "a" * 20_000 + "b")) == []
