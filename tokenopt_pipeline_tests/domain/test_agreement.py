"""Two answers agree where they say the same, whatever they write it like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.agreement import Agreement, agreement

_SCHEMA: dict[str, Any] = {
    "properties": {
        "due": {"type": ["string", "null"], "format": "date"},
        "amount": {"type": "number"},
        "party": {"type": "string"},
        "paid": {"type": "boolean"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}},
        "entities": {"type": "array", "items": {"type": "object", "properties": {"day": {"format": "date"}}}},
        "mixed": {},
    }
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _same(name: str, left: object, right: object) -> bool:
    one = agreement({name: left}, {name: right}, {"properties": {name: _SCHEMA["properties"].get(name, {})}})
    other = agreement({name: right}, {name: left}, {"properties": {name: _SCHEMA["properties"].get(name, {})}})
    assert one.agreeing == other.agreeing
    return one.is_full


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("due", "2018-10-19", "19/10/2018"),
        ("due", "2018-10-19T08:00:00", "19.10.2018"),
        ("due", "next week", "Next  week"),
        ("amount", 60, 60.0),
        ("amount", 0.1 + 0.2, 0.3),
        ("amount", 0, 0.0),
        ("party", "The  Supplier", "the supplier"),
        ("party", "ﬁrm", "firm"),
        ("party", None, ""),
        ("paid", False, False),
        ("entities", [{"day": "2018-10-19"}, {"day": "x"}], [{"day": "X"}, {"day": "19/10/2018"}]),
        ("entities", [], None),
        ("mixed", [1, 2, 2], [2, 1, 2]),
    ],
)
def test_values_that_say_the_same_agree(name: str, left: object, right: object) -> None:
    assert _same(name, left, right)


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("due", "2018-10-19", "2018-10-20"),
        ("due", "99/99/2018", "2018-10-20"),
        ("amount", 60.30, 60.31),
        ("amount", "60.30", 60.30),
        ("party", "The Supplier", "The Buyer"),
        ("party", None, "The Buyer"),
        ("paid", True, 1),
        ("paid", False, None),
        ("entities", [{"day": "x"}], [{"day": "x"}, {"day": "x"}]),
        ("entities", [{"day": "x"}, {"day": "x"}], [{"day": "x"}, {"day": "y"}]),
        ("entities", [{"day": "x"}], {"day": "x"}),
        ("mixed", [1], "1"),
    ],
)
def test_values_that_say_something_else_differ(name: str, left: object, right: object) -> None:
    assert not _same(name, left, right)


def test_objects_are_compared_member_by_member_and_the_first_difference_is_named() -> None:
    one = {"address": {"city": "Bonn", "zip": "1"}, "party": "A"}
    other = {"address": {"city": "Bonn", "zip": "2"}, "party": "B"}
    found = agreement(one, other, {"properties": {"address": _SCHEMA["properties"]["address"], "party": {}}})
    assert found == Agreement(fields=3, agreeing=1, first_difference="/address/zip")
    assert not found.is_full


def test_a_member_that_no_schema_declares_is_a_field_too() -> None:
    assert agreement({"extra": 1}, {}, {}) == Agreement(fields=1, agreeing=0, first_difference="/extra")


def test_sums_keep_the_first_difference() -> None:
    first = Agreement(fields=1, agreeing=0, first_difference="/a")
    assert first + Agreement(fields=2, agreeing=1, first_difference="/b") == Agreement(
        fields=3, agreeing=1, first_difference="/a"
    )
    assert (Agreement() + first).first_difference == "/a"


@given(st.dictionaries(st.text(max_size=3), _JSON, max_size=4))
def test_every_answer_agrees_with_itself(answer: dict[str, Any]) -> None:
    assert agreement(answer, answer, {}).is_full


@given(st.dictionaries(st.text(max_size=3), _JSON, max_size=4), st.dictionaries(st.text(max_size=3), _JSON, max_size=4))
def test_agreement_does_not_depend_on_who_is_compared_with_whom(one: dict[str, Any], other: dict[str, Any]) -> None:
    left, right = agreement(one, other, {}), agreement(other, one, {})
    assert (left.fields, left.agreeing) == (right.fields, right.agreeing)
    assert 0 <= left.agreeing <= left.fields
