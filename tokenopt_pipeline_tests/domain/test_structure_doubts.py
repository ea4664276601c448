"""Parts of an answer that do not fit together are doubted."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tokenopt_pipeline.domain.answer_tree import Node
from tokenopt_pipeline.domain.grounding import read_text
from tokenopt_pipeline.domain.structure_doubts import structure_doubts

_PAY = {
    "description": "Calculate the rent to pay.",
    "properties": {"kind": {"const": "payRent"}, "usd": {}},
    "required": ["kind"],
}
_MOVE = {"description": "Plan a move of furniture.", "properties": {"kind": {"const": "plan_move"}, "day": {}}}
_ROOT: dict[str, Any] = {
    "properties": {"calls": {"type": "array", "items": {"anyOf": [_PAY, _MOVE]}}, "note": {}, "tags": {"minItems": 1}},
    "required": ["note"],
}


def _doubts(values: dict[str, Any], text: str, root: dict[str, Any] = _ROOT) -> list[tuple[str, str]]:
    return [(d.id, d.path) for d in structure_doubts(Node(values, root, ""), root, read_text(text))]


@pytest.mark.parametrize(
    ("part", "value", "doubted"),
    [
        pytest.param({}, "", True, id="blank"),
        pytest.param({}, None, True, id="null"),
        pytest.param({"type": ["string", "null"]}, None, False, id="null where it is allowed"),
        pytest.param({"type": ["string", "null"]}, "N/A", True, id="a placeholder where null is allowed"),
        pytest.param({"enum": ["none", "duty"]}, "none", False, id="a choice that is called none"),
        pytest.param({"type": "array"}, [], False, id="no entries"),
        pytest.param({"type": "array", "minItems": 1}, [], True, id="no entries where one is needed"),
        pytest.param({}, "x", False, id="something"),
    ],
)
def test_a_required_field_that_says_nothing_is_doubted(part: dict[str, Any], value: object, doubted: bool) -> None:
    root = {"properties": {"a": part, "b": {}}, "required": ["a", "missing"]}
    found = _doubts({"a": value, "b": ""}, "x", root)
    assert found == ([("required_empty", "/a")] if doubted else [])


def test_a_field_that_is_not_required_may_say_nothing() -> None:
    assert _doubts({"a": ""}, "x", {"properties": {"a": {}}, "required": 5}) == []


def test_an_alternative_whose_name_or_description_the_block_does_not_mention_is_off_topic() -> None:
    values = {"calls": [{"kind": "payRent", "usd": 5}]}
    assert _doubts(values, "The tenant pays rent.") == []
    assert _doubts(values, "The garden is green.") == [("off_topic", "/calls/0")]


def test_an_alternative_without_words_is_on_every_topic() -> None:
    bare = {"properties": {"kind": {"const": 7}}}
    root = {"properties": {"a": {"anyOf": [bare]}}}
    assert _doubts({"a": {"kind": 7}}, "x", root) == []


def test_an_alternative_that_the_block_speaks_of_and_nobody_chose_is_left_out() -> None:
    text = "Plan the move of our furniture, and calculate the rent we pay."
    both = [{"kind": "payRent"}, {"kind": "plan_move"}]
    assert _doubts({"calls": both}, text) == []
    assert _doubts({"calls": both[:1]}, text) == [("left_out", "/calls")]
    assert _doubts({"calls": []}, "Plan the move of our furniture.") == [("left_out", "/calls")]
    assert _doubts({"calls": []}, "Move on.") == []


def test_equal_entries_are_repeated() -> None:
    assert _doubts({"tags": [{"a": 1}, {"a": 2}, {"a": 1}]}, "x") == [("repeated_entry", "/tags")]
    assert _doubts({"tags": [1, 1]}, "x") == []


def test_an_endless_array_is_looked_at_in_no_time() -> None:
    endless = [{"a": i, "b": {"l": [i]}} for i in range(2_000)]
    started = time.process_time()
    assert _doubts({"tags": endless}, "x") == []
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("one", "other", "split"),
    [
        pytest.param({"a": 1, "l": [1]}, {"a": 1, "l": [2]}, True, id="one list differs"),
        pytest.param({"a": 1, "i": {"l": [1]}}, {"a": 1, "i": {"l": [2]}}, True, id="one list further down"),
        pytest.param({"a": 1, "l": [1]}, {"a": 2, "l": [2]}, False, id="another field too"),
        pytest.param({"a": 1, "l": [1]}, {"a": 1, "m": [2]}, False, id="other fields"),
        pytest.param({"a": 1, "l": 1}, {"a": 1, "l": 2}, False, id="no list"),
        pytest.param({"a": 1, "l": [1]}, {"a": 1, "l": 2}, False, id="half a list"),
        pytest.param({"a": 1, "i": {"l": 1}}, {"a": 1, "i": {"l": 2}}, False, id="no list further down"),
    ],
)
def test_entries_that_differ_in_one_list_only_are_split(
    one: dict[str, Any], other: dict[str, Any], split: bool
) -> None:
    assert _doubts({"tags": [one, other]}, "x") == ([("split_entry", "/tags")] if split else [])
