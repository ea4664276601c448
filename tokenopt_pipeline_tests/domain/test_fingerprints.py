"""Equal values have equal fingerprints; key order does not matter and everything else does."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.fingerprints import canonical_json, canonical_schema, digest, digest_text, ordered_json
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples


def _reordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reordered(inner) for key, inner in reversed(value.items())}
    return [_reordered(inner) for inner in value] if isinstance(value, list) else value


def _changed_at(value: Any, path: list[int]) -> object:
    """The value with the node at the path put into a list; the path wraps around at each level."""
    if not path or not isinstance(value, dict | list) or not value:
        return [value]
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[path[0] % len(keys)]
    changed = value.copy()
    changed[key] = _changed_at(value[key], path[1:])
    return changed


@examples(100)
@given(JSON_VALUES)
def test_the_order_of_keys_does_not_matter_at_any_depth(value: object) -> None:
    assert digest(_reordered(value)) == digest(value)


@examples(100)
@given(JSON_VALUES, st.lists(st.integers(0, 9), max_size=4))
def test_a_change_of_one_node_at_any_depth_matters(value: object, path: list[int]) -> None:
    assert digest(_changed_at(value, path)) != digest(value)


@examples(100)
@given(JSON_VALUES)
def test_canonical_json_says_the_same_value(value: object) -> None:
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


def test_values_that_python_takes_for_equal_but_json_does_not_differ() -> None:
    spellings = [1, 1.0, True, "1", [1], None, 0, 0.0, -0.0, False, "", [], {}]
    assert len({digest(value) for value in spellings}) == len(spellings)


def test_the_order_of_a_list_matters() -> None:
    assert digest([1, 2]) != digest([2, 1])


def test_canonical_json_has_sorted_keys_no_spaces_and_letters_as_they_are() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": number})


def test_a_digest_is_the_sha_256_of_the_canonical_json() -> None:
    assert digest({"é": 1}) == hashlib.sha256('{"é":1}'.encode()).hexdigest()


def test_half_a_surrogate_pair_is_hashed_as_its_escape() -> None:
    assert digest_text("a\ud800") == hashlib.sha256(b"a\\ud800").hexdigest()
    assert digest("\ud800") != digest("\\ud800")


def test_a_canonical_schema_sorts_keywords_and_keeps_the_order_of_properties_at_any_depth() -> None:
    inner = {"type": "object", "properties": {"z": {}, "a": {"enum": ["y", "x"]}}}
    schema = canonical_schema({"type": "object", "properties": {"q": {"items": inner, "type": "array"}, "b": {}}})
    assert list(schema) == ["properties", "type"]
    assert list(schema["properties"]) == ["q", "b"]
    assert list(schema["properties"]["q"]) == ["items", "type"]
    assert ordered_json(schema["properties"]["q"]["items"]) == (
        '{"properties":{"z":{},"a":{"enum":["y","x"]}},"type":"object"}'
    )
