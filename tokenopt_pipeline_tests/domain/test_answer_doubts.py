"""All doubts about an answer, each once per place, and disagreement between two answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.answer_doubts import disagreements, find_doubts
from tokenopt_pipeline.domain.checks import parse_checks
from tokenopt_pipeline.domain.doubts import ANY_CHECK, KINDS
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, JSON_VALUES, examples

_SCHEMA: dict[str, Any] = {
    "properties": {"party": {"type": "string"}, "usd": {"type": "number"}, "lines": {"type": "array", "items": {}}},
    "required": ["party"],
}
_TEXT = "The tenant pays $1,200 to 'Acme Ltd'."


def _ids(values: dict[str, Any], checks: list[dict[str, Any]] | None = None, violation: str | None = None) -> list[str]:
    parsed = parse_checks(checks, name="s", fields=frozenset(_SCHEMA["properties"]))
    return [d.id for d in find_doubts(_SCHEMA, values, _TEXT, violation=violation, checks=parsed)]


def test_an_answer_that_states_what_the_block_states_holds_no_doubt_but_that_it_says_something() -> None:
    assert _ids({"party": "tenant", "usd": 1200}) == ["something_found"]


def test_an_answer_without_values_found_nothing() -> None:
    assert _ids({"party": None, "lines": []}) == ["nothing_found", "required_empty"]
    assert _ids({}) == ["nothing_found"]


def test_doubts_come_in_the_order_of_form_structure_and_values() -> None:
    values = {"party": "N/A", "usd": 7, "lines": [{"a": 1200}, {"a": 1200}]}
    assert _ids(values, violation="usd: 7 is wrong") == [
        "schema",
        "something_found",
        "required_empty",
        "repeated_entry",
        "number_not_in_text",
    ]


def test_a_default_needs_no_place_in_the_text() -> None:
    schema = {"properties": {"unit": {"type": "string", "default": "metres"}}}
    assert [d.id for d in find_doubts(schema, {"unit": "metres"}, _TEXT, violation=None)] == ["something_found"]


def test_a_broken_check_is_a_doubt_with_the_schema_s_own_reason() -> None:
    check = {"id": "cheap", "then": {"field": "usd", "below": 1000}, "because": "Nothing here costs that much."}
    parsed = parse_checks([check], name="s", fields=frozenset(_SCHEMA["properties"]))
    (*_, doubt) = find_doubts(_SCHEMA, {"party": "tenant", "usd": 1200}, _TEXT, violation=None, checks=parsed)
    assert (doubt.id, doubt.evidence) == (f"{ANY_CHECK}:cheap", "Nothing here costs that much.")
    assert (
        _ids({"party": "tenant", "usd": 900}, [{k: v for k, v in check.items() if k != "because"}])[-1] != "check:cheap"
    )
    assert _ids({"usd": 1200}, [{"id": "cheap", "then": {"field": "usd", "below": 1000}}])[-1] == "check:cheap"


@pytest.mark.parametrize(
    ("values", "covers", "doubted"),
    [
        ({"party": "Acme Ltd", "usd": 1200}, ["numbers", "quotes"], False),
        ({"party": "Acme Ltd"}, ["numbers"], True),
        ({"party": "Acme Ltd"}, ["quotes"], False),
        ({"party": "Acme", "usd": 1200}, ["quotes"], True),
        ({"party": None}, ["numbers", "quotes"], False),
        ({"party": "tenant", "lines": [1.2]}, ["numbers"], True),
        ({"party": "tenant", "lines": [12.0]}, ["numbers"], False),
    ],
)
def test_what_a_schema_wants_covered_must_be_in_some_value(
    values: dict[str, Any], covers: list[str], doubted: bool
) -> None:
    assert ("not_covered" in _ids(values, [{"id": "c", "covers": covers}])) is doubted


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": "The Tenant"}, {"a": "the tenant."}, None),
        ({"a": None}, {}, None),
        ({"a": [{"b": "x", "c": ""}]}, {"a": [{"b": "X"}]}, None),
        ({"a": "…"}, {"a": "…"}, None),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b"),
        ({"a": True}, {"a": True}, None),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": "tenant"}, {"a": "landlord"}, "a"),
        ({}, {"c": "x"}, "c"),
    ],
)
def test_two_answers_disagree_about_the_first_field_that_differs(
    one: dict[str, Any], other: dict[str, Any], field: str | None
) -> None:
    found = disagreements(one, other)
    assert [(d.id, d.path) for d in found] == ([] if field is None else [("disagreement", f"/{field}")])


@examples(80)
@given(st.dictionaries(st.sampled_from(["party", "usd", "lines", "x"]), JSON_VALUES), ANY_TEXT)
def test_any_answer_to_any_text_has_doubts_of_known_kinds_each_once_per_place(
    values: dict[str, Any], text: str
) -> None:
    checks = parse_checks([{"id": "c", "covers": ["numbers", "quotes"]}], name="s", fields=frozenset({"usd"}))
    found = find_doubts(_SCHEMA, values, text, violation=None, checks=checks)
    assert {d.id for d in found} <= set(KINDS)
    assert len({(d.id, d.path) for d in found}) == len(found)
    assert find_doubts(_SCHEMA, values, text, violation=None, checks=checks) == found
    assert disagreements(values, values) == ()
