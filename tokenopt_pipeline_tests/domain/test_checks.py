"""Rules between fields that a schema declares are read strictly and hold where there is nothing to compare."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tokenopt_pipeline.domain.checks import Check, is_empty, is_number, parse_checks, values_at
from tokenopt_pipeline.domain.errors import SchemaInvalid
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples

_FIELDS = frozenset({"start", "end", "total", "lines", "kind", "note"})


def _check(**members: Any) -> Check:
    (check,) = parse_checks([{"id": "c", **members}], name="s", fields=_FIELDS)
    return check


@pytest.mark.parametrize(
    ("then", "values", "broken"),
    [
        ({"field": "note", "is": "present"}, {"note": "x"}, False),
        ({"field": "note", "is": "present"}, {"note": "N/A"}, True),
        ({"field": "note", "is": "present"}, {}, True),
        ({"field": "note", "is": "empty"}, {"note": []}, False),
        ({"field": "note", "is": "empty"}, {"note": 0}, True),
        ({"field": "kind", "equals": "duty"}, {"kind": "duty"}, False),
        ({"field": "kind", "equals": "duty"}, {"kind": "right"}, True),
        ({"field": "start", "equals": "2023-03-05"}, {"start": "March 5, 2023"}, False),
        ({"field": "total", "equals": 1}, {"total": 1.0}, False),
        ({"field": "kind", "in": ["a", "b"]}, {"kind": "c"}, True),
        ({"field": "kind", "in": ["a", "b"]}, {"kind": "b"}, False),
        ({"field": "end", "at_least": {"field": "start"}}, {"start": "2023-01-02", "end": "2023-01-01"}, True),
        ({"field": "end", "at_least": {"field": "start"}}, {"start": "2023-01-02", "end": "Jan 2, 2023"}, False),
        ({"field": "end", "above": {"field": "start"}}, {"start": 2, "end": 2}, True),
        ({"field": "end", "above": 1}, {"end": 2}, False),
        ({"field": "end", "below": 2}, {"end": 2}, True),
        ({"field": "end", "at_most": 2}, {"end": 2}, False),
        ({"field": "end", "at_most": 2}, {"end": "soon"}, False),
        ({"field": "end", "at_least": "2023-01-01"}, {"end": None}, False),
        ({"field": "end", "at_most": 10**400}, {"end": 10**401}, False),
        ({"field": "end", "at_most": 2}, {"end": 10**400}, True),
        ({"field": "total", "sum_of": "start"}, {"total": 10**400, "start": 1}, True),
        ({"field": "total", "equals": 0}, {"total": 0}, False),
        ({"field": "lines.qty", "above": 0}, {"lines": [{"qty": 1}, {"qty": 0}]}, True),
        (
            {"field": "lines.end", "at_least": {"field": "lines.start"}},
            {"lines": [{"start": 1, "end": 2}, {"start": 5, "end": 4}]},
            True,
        ),
        (
            {"field": "total", "sum_of": "lines.amount"},
            {"total": 3.3, "lines": [{"amount": 1.1}, {"amount": 2.2}]},
            False,
        ),
        ({"field": "total", "sum_of": ["start", "end"]}, {"total": 4, "start": 1, "end": 2}, True),
        ({"field": "total", "sum_of": ["start", "end"], "within": 1}, {"total": 4, "start": 1, "end": 2}, False),
        ({"field": "total", "sum_of": "lines.amount"}, {"total": 3, "lines": []}, False),
        ({"field": "total", "sum_of": "lines.amount"}, {"total": "3", "lines": [{"amount": 1}]}, False),
        ({"all": [{"field": "kind", "is": "present"}, {"field": "note", "is": "present"}]}, {"kind": "a"}, True),
        ({"any": [{"field": "kind", "is": "present"}, {"field": "note", "is": "present"}]}, {"kind": "a"}, False),
        ({"not": {"field": "kind", "equals": "none"}}, {"kind": "none"}, True),
    ],
)
def test_a_check_is_broken_when_its_statement_does_not_hold(
    then: dict[str, Any], values: dict[str, Any], broken: bool
) -> None:
    assert _check(then=then).is_broken_by(values) is broken


def test_a_condition_limits_a_check_to_the_answers_it_is_about() -> None:
    check = _check(**{"if": {"field": "kind", "equals": "payment"}, "then": {"field": "total", "is": "present"}})
    assert check.is_broken_by({"kind": "payment"})
    assert not check.is_broken_by({"kind": "notice"})


def test_a_demand_to_cover_the_text_is_no_statement_about_the_values() -> None:
    check = _check(covers=["numbers", "quotes"], because="Questions state nothing in passing.")
    assert (check.covers, check.because) == (("numbers", "quotes"), "Questions state nothing in passing.")
    assert not check.is_broken_by({})


def test_no_checks_are_none() -> None:
    assert parse_checks(None, name="s", fields=_FIELDS) == ()


_THEN = {"field": "note", "is": "present"}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, ["checks must be a list", "dict"]),
        ([5], ["checks[0]", "object"]),
        ([{"id": "a", "then": _THEN, "when": {}}], ["checks[0]", "'when'", "then"]),
        ([{"then": _THEN}], ["checks[0].id"]),
        ([{"id": "a", "then": _THEN, "because": 5}], ["checks[0].because"]),
        ([{"id": "a"}], ["checks[0]", "exactly one of then, covers"]),
        ([{"id": "a", "then": _THEN, "covers": ["numbers"]}], ["exactly one"]),
        ([{"id": "a", "covers": []}], ["checks[0].covers"]),
        ([{"id": "a", "covers": "numbers"}], ["checks[0].covers"]),
        ([{"id": "a", "covers": ["names"]}], ["covers", "numbers, quotes"]),
        ([{"id": "a", "covers": ["numbers"], "if": _THEN}], ["covers cannot stand under an if"]),
        ([{"id": "a", "then": _THEN}, {"id": "a", "then": _THEN}], ["'a' stands twice"]),
        *[
            ([{"id": "a", "then": then}], [f"checks[0].then{place}", *words])
            for then, place, words in [
                (5, "", ["object"]),
                ({"all": [_THEN], "any": [_THEN]}, "", ["all stands alone"]),
                ({"all": []}, ".all", ["non-empty list"]),
                ({"all": _THEN}, ".all", ["non-empty list"]),
                ({"any": [{"field": "x", "is": "empty"}]}, ".any[0].field", ["'x'", "total"]),
                ({"field": 5, "is": "empty"}, ".field", ["5"]),
                ({"field": "note"}, "", ["exactly one of is, equals"]),
                ({"field": "note", "is": "empty", "equals": 1}, "", ["exactly one"]),
                ({"field": "note", "is": "empty", "or": 1}, "", ["exactly one"]),
                ({"field": "note", "is": "full"}, ".is", ["'full'", "present, empty"]),
                ({"field": "kind", "in": []}, ".in", ["non-empty list"]),
                ({"field": "end", "above": "soon"}, ".above", ["'soon'", "a date"]),
                ({"field": "end", "above": {"field": "x"}}, ".above", ["'x'"]),
                ({"field": "end", "above": {"value": 1}}, ".above", ["member field"]),
                ({"field": "total", "sum_of": ["x"]}, ".sum_of", ["'x'"]),
                ({"field": "total", "sum_of": []}, ".sum_of", ["[]"]),
                ({"field": "total", "sum_of": "start", "within": -1}, ".within", ["-1"]),
                ({"field": "total", "equals": 1, "within": 1}, ".within", ["sum_of"]),
            ]
        ],
    ],
)
def test_a_check_that_cannot_be_followed_is_refused_by_its_place(declared: object, words: list[str]) -> None:
    with pytest.raises(SchemaInvalid) as refusal:
        parse_checks(declared, name="s", fields=_FIELDS)
    assert str(refusal.value).startswith("schema s: ")
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize("value", [None, "", "  ", "N/A", "<UNKNOWN>", "None", [], {}, "not specified"])
def test_values_that_say_nothing_are_empty(value: object) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", [0, False, "no", "0", [None], {"a": None}])
def test_values_that_say_something_are_not(value: object) -> None:
    assert not is_empty(value)


def test_a_truth_value_is_no_number() -> None:
    assert [is_number(v) for v in (1, 1.5, True, "1")] == [True, True, False, False]


def test_a_path_takes_every_entry_of_an_array() -> None:
    values = {"a": [{"b": 1}, {"b": [2, 3]}, 5], "c": {"d": None}}
    assert list(values_at(values, "a.b")) == [1, 2, 3]
    assert list(values_at(values, "c.d")) == [None]
    assert list(values_at(values, "x.y")) == []


@examples(60)
@given(JSON_VALUES)
def test_no_answer_makes_a_check_fail_to_decide(value: object) -> None:
    then: dict[str, Any]
    for then in ({"field": "total", "sum_of": "lines.a"}, {"field": "end", "above": {"field": "start"}}, _THEN):
        values = {"total": value, "lines": value, "end": value, "start": value, "note": value}
        assert _check(then=then).is_broken_by(values) in (True, False)
