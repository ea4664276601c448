"""Strings made to match regular expressions."""

from __future__ import annotations

import re

import pytest

from tokenopt_pipeline.sandbox.choice import Choice
from tokenopt_pipeline.sandbox.patterns import matching


@pytest.mark.parametrize(
    "pattern",
    [r"^[A-Z]{3}$", r"^\d{4}-\d{2}$", r"^(USD|EUR|GBP)$", r"^[a-z0-9_-]+$", r"^\w+@\w+\.com$", r"^[^\d\s]{2,5}$", "x*"],
)
def test_a_made_string_matches(pattern: str) -> None:
    made = matching(pattern, [], Choice.of("some text").at("field"))
    assert made is not None
    assert re.search(pattern, made)


def test_a_word_of_the_text_is_preferred() -> None:
    assert matching(r"^[A-Z]{2}-\d+$", ["the", "AB-12"], Choice.of("t")) == "AB-12"


def test_what_cannot_be_made_is_said_to_be_none() -> None:
    assert matching(r"^(?=a)b$", [], Choice.of("t")) is None
    assert matching("(", [], Choice.of("t")) is None
