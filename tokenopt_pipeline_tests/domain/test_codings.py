"""Whatever a schema allows is said shorter and comes back exactly; what a coding does not understand it leaves alone."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.codings import NotDecodable, coded_schema
from tokenopt_pipeline.domain.fingerprints import canonical_json, ordered_json
from tokenopt_pipeline_tests.domain.coded_schemas import schema_and_values
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples


def _closed(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _said(schema: dict[str, Any]) -> Any:
    return coded_schema(schema)[1]


@examples(400)
@given(schema_and_values())
def test_every_answer_comes_back_exactly_and_what_is_said_is_valid_and_never_longer(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    schema, values = pair
    coding, asked = coded_schema(schema)
    said = coding.encoded(values)
    assert canonical_json(coding.decoded(said)) == canonical_json(values)
    assert len(ordered_json(said)) <= len(ordered_json(values))
    assert jsonschema_rs.validator_for(schema).is_valid(values)
    assert jsonschema_rs.validator_for(dict(asked)).is_valid(said)


@examples(200)
@given(schema_and_values())
def test_an_answer_in_the_schemas_own_words_is_understood_too(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    schema, values = pair
    assert canonical_json(coded_schema(schema)[0].decoded(values)) == canonical_json(values)


@examples(200)
@given(schema_and_values(), JSON_VALUES)
def test_an_answer_of_another_shape_is_passed_on_for_the_validator_to_refuse(
    pair: tuple[dict[str, Any], dict[str, Any]], said: object
) -> None:
    coding, _ = coded_schema(pair[0])
    if not isinstance(said, dict):
        assert coding.decoded(said) == said
        assert coding.encoded(said) == said


def test_fields_have_aliases_that_the_schema_explains() -> None:
    asked = _said(_closed(liability_cap={"type": "string", "description": "as stated", "title": "Cap"}))
    assert asked["properties"] == {"lc": {"type": "string", "description": "liability_cap | as stated"}}
    assert asked["required"] == ["lc"]


def test_no_alias_is_the_name_that_packs_number_blocks_with() -> None:
    assert list(_said(_closed(name={"type": "string"}))["properties"]) == ["na"]


@pytest.mark.parametrize(
    ("fragment", "shown", "meant"),
    [
        pytest.param({"type": ["string", "null"]}, {"type": "string"}, None, id="a list of types"),
        pytest.param(
            {"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "integer"}, None, id="something or null"
        ),
        pytest.param({"enum": ["x", None]}, {"enum": ["x"]}, None, id="a choice of nothing"),
        pytest.param({"type": ["string", "number", "null"]}, {"type": ["string", "number"]}, None, id="several types"),
        pytest.param({"type": "integer", "default": 3}, {"type": "integer"}, 3, id="a default"),
        pytest.param(
            {"type": ["string", "null"], "default": "x"}, {"type": ["string", "null"]}, "x", id="a default beside null"
        ),
    ],
)
def test_a_required_field_may_leave_out_what_goes_without_saying(
    fragment: dict[str, Any], shown: dict[str, Any], meant: object
) -> None:
    coding, asked = coded_schema(_closed(a=fragment))
    assert asked["properties"]["a"] == {**shown, "description": f"left out: {canonical_json(meant)}"}
    assert asked["required"] == []
    assert coding.encoded({"a": meant}) == {}
    assert coding.decoded({}) == {"a": meant}


@pytest.mark.parametrize(
    "fragment",
    [
        pytest.param({"type": "string"}, id="never null"),
        pytest.param({}, id="anything"),
        pytest.param(True, id="anything, said by true"),
        pytest.param({"enum": [None]}, id="nothing but null"),
        pytest.param({"type": "string", "enum": ["x", None]}, id="null that its type forbids"),
        pytest.param({"anyOf": [{"type": "null"}]}, id="null alone"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "string"}]}, id="alternatives without null"),
    ],
)
def test_other_required_fields_are_always_said(fragment: object) -> None:
    assert _said(_closed(a=fragment))["required"] == ["a"]


def test_an_optional_field_that_is_null_is_told_from_one_that_is_missing() -> None:
    coding, asked = coded_schema(_closed([], a={"type": ["string", "null"]}))
    assert asked["properties"]["a"] == {"type": ["string", "null"]}
    assert coding.decoded({}) == {}
    assert coding.decoded(coding.encoded({"a": None})) == {"a": None}


def test_long_choices_have_codes_that_the_schema_explains() -> None:
    coding, asked = coded_schema(_closed(a={"enum": ["termination_for_cause", "governing_law", 7]}))
    assert asked["properties"]["a"] == {
        "enum": ["tfc", "gl", 7],
        "description": "tfc = termination_for_cause; gl = governing_law",
    }
    assert coding.encoded({"a": "governing_law"}) == {"a": "gl"}
    assert coding.decoded({"a": "TFC"}) == {"a": "termination_for_cause"}
    assert coding.decoded({"a": 7}) == {"a": 7}
    assert coding.encoded({"a": 7}) == {"a": 7}
    assert coding.decoded({"a": "else"}) == {"a": "else"}


@pytest.mark.parametrize("choices", [["duty", "right"], [1, 2, None], ["--------------"]])
def test_short_choices_stay_as_they_are(choices: list[object]) -> None:
    assert _said(_closed(a={"enum": choices, "description": "d"}))["properties"]["a"]["enum"][0] == choices[0]


def test_a_field_said_twice_is_refused() -> None:
    coding, _ = coded_schema(_closed(liability_cap={"type": "string"}))
    with pytest.raises(NotDecodable, match="'liability_cap' stands twice, as 'liability_cap' and as 'lc'"):
        coding.decoded({"lc": "1", "liability_cap": "2"})


@pytest.mark.parametrize(
    "node",
    [
        pytest.param({"patternProperties": {"^x": {}}}, id="patterns of names"),
        pytest.param({"minProperties": 1}, id="a number of fields"),
        pytest.param({"allOf": [{"required": ["liability_cap"]}]}, id="rules that name fields"),
        pytest.param({"additionalProperties": {"type": "string"}}, id="more fields of a kind"),
        pytest.param({"required": ["unknown"]}, id="a required field nobody knows"),
    ],
)
def test_an_object_that_says_more_is_asked_as_it_stands(node: dict[str, Any]) -> None:
    inner = {**_closed(liability_cap={"type": ["string", "null"]}), **node}
    asked = _said(_closed(a=inner))
    assert asked["properties"]["a"] == inner


def test_an_open_object_keeps_its_fields_names_and_leaves_out_nulls() -> None:
    inner = {
        "type": "object",
        "properties": {"liability_cap": {"type": ["string", "null"]}},
        "required": ["liability_cap"],
    }
    coding, _ = coded_schema(_closed(a=inner))
    assert coding.encoded({"a": {"liability_cap": None, "lc": 1}}) == {"a": {"lc": 1}}
    assert coding.decoded({"a": {"lc": 1}}) == {"a": {"liability_cap": None, "lc": 1}}


def test_a_definition_is_coded_once_however_deep_it_refers_to_itself() -> None:
    part = _closed(name_of_part={"type": "string"}, under_parts={"type": "array", "items": {"$ref": "#/$defs/part"}})
    coding, asked = coded_schema({**_closed(part={"$ref": "#/$defs/part"}), "$defs": {"part": part}})
    assert list(asked["$defs"]["part"]["properties"]) == ["nop", "up"]
    values = {
        "part": {"name_of_part": "a", "under_parts": [{"name_of_part": "b", "under_parts": []}]},
    }
    assert coding.encoded(values) == {"p": {"nop": "a", "up": [{"nop": "b", "up": []}]}}
    assert coding.decoded(coding.encoded(values)) == values


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param({"allOf": [{"$ref": "#/$defs/part"}]}, id="all of"),
        pytest.param({"anyOf": [{"$ref": "#/$defs/part"}, {"type": "string"}]}, id="alternatives"),
        pytest.param({"$ref": "#/$defs/part/properties/name_of_part"}, id="a part of it"),
        pytest.param({"$ref": "#/definitions/else"}, id="a definition that is missing"),
        pytest.param({"$ref": 7}, id="no reference"),
        pytest.param(
            {"type": "object", "properties": {}, "additionalProperties": {"$ref": "#/$defs/part"}}, id="more fields"
        ),
    ],
)
def test_a_definition_that_is_also_used_plainly_is_plain_everywhere(plain: dict[str, Any]) -> None:
    part = _closed(name_of_part={"type": "string"})
    schema = {**_closed(a=plain, b={"$ref": "#/$defs/part"}), "$defs": {"part": part}}
    coding, asked = coded_schema(schema)
    assert asked["$defs"] == {"part": part}
    values = {"a": {"name_of_part": "x"}, "b": {"name_of_part": "y"}}
    assert coding.decoded(coding.encoded(values)) == values


@pytest.mark.parametrize(("fields", "left_out"), [(24, 24), (25, 0)])
def test_nulls_are_said_when_more_fields_could_be_missing_than_grammars_take(fields: int, left_out: int) -> None:
    properties = {f"f{i}": {"type": ["string", "null"]} for i in range(fields)}
    asked = _said({**_closed(), "properties": properties, "required": list(properties)})
    assert len(asked["required"]) == fields - left_out


def test_defaults_and_examples_in_the_schemas_own_words_are_not_shown() -> None:
    inner = _closed(liability_cap={"type": "string"})
    asked = _said(_closed(a={**inner, "examples": [{"liability_cap": "x"}]}))
    assert "examples" not in asked["properties"]["a"]


@examples(50)
@given(st.sampled_from(["anyOf", "oneOf"]))
def test_an_object_or_nothing_is_coded_inside(key: str) -> None:
    coding, _ = coded_schema(_closed(a={key: [_closed(liability_cap={"type": "string"}), {"type": "null"}]}))
    assert coding.encoded({"a": {"liability_cap": "x"}}) == {"a": {"lc": "x"}}
    assert coding.decoded({}) == {"a": None}
