"""Answers: valid against their schema, grounded in their block, and the same wherever the block stands."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenopt_pipeline.sandbox.answers import answerer_for
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_object
from tokenopt_pipeline.sandbox.reply import Question, compose_reply

from .asking import ENTRY, TEXTS, pack_schema, pack_text

NAMES = st.sampled_from(["title", "summary", "revised_text", "amount", "reason", "kind", "parts", "x"])
FORMATS = ("date", "date-time", "time", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")


def strings() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.tuples(st.integers(0, 30), st.integers(0, 60)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[0] + pair[1]}
    )
    formats = st.sampled_from(FORMATS).map(lambda name: {"type": "string", "format": name})
    patterns = st.sampled_from([r"^[A-Z]{2,4}$", r"^\d{3}-\d{2}$", r"^(low|high)$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    )
    return st.one_of(st.just({"type": "string"}), lengths, formats, patterns)


def numbers() -> st.SearchStrategy[dict[str, Any]]:
    bounded = st.tuples(st.integers(-50, 50), st.integers(1, 200), st.sampled_from(["integer", "number"])).map(
        lambda t: {"type": t[2], "minimum": t[0], "maximum": t[0] + t[1]}
    )
    exclusive = st.tuples(st.integers(-50, 50), st.integers(2, 9), st.sampled_from(["integer", "number"])).map(
        lambda t: {"type": t[2], "exclusiveMinimum": t[0], "exclusiveMaximum": t[0] + t[1]}
    )
    multiples = st.integers(1, 12).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": 5})
    return st.one_of(st.just({"type": "integer"}), st.just({"type": "number"}), bounded, exclusive, multiples)


def objects(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, dict[str, Any]], required: int) -> dict[str, Any]:
        names = sorted(properties)
        return {
            "type": "object",
            "properties": properties,
            "required": names[: required % (len(names) + 1)],
            "additionalProperties": False,
        }

    return st.builds(build, st.dictionaries(NAMES, children, max_size=4), st.integers(0, 9))


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    leaves = st.one_of(
        strings(),
        numbers(),
        st.just({"type": "boolean"}),
        st.just({"type": ["string", "null"]}),
        st.sampled_from([{"enum": ["a", "b", None]}, {"const": 4}, {"type": "integer", "enum": [1, 2]}]),
        st.just({"$ref": "#/$defs/money"}),
    )

    def deeper(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        arrays = st.tuples(children, st.integers(0, 2), st.integers(0, 3)).map(
            lambda t: {"type": "array", "items": t[0], "minItems": t[1], "maxItems": t[1] + t[2]}
        )
        nullable = children.map(lambda child: {"anyOf": [child, {"type": "null"}]})
        return st.one_of(objects(children), arrays, nullable)

    money = {
        "type": "object",
        "properties": {"amount": {"type": "number", "minimum": 0}, "currency": {"enum": ["EUR", "USD"]}},
        "required": ["amount", "currency"],
        "additionalProperties": False,
    }
    return objects(st.recursive(leaves, deeper, max_leaves=8)).map(lambda s: {**s, "$defs": {"money": money}})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=schemas(), text=st.one_of(st.sampled_from(TEXTS), st.text(max_size=200)))
def test_every_answer_is_valid_against_its_schema(schema: dict[str, Any], text: str) -> None:
    answer = answerer_for(schema, None).answer(text)
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(answer)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=schemas(), text=st.sampled_from(TEXTS))
def test_an_answer_bound_by_a_reduced_schema_still_fits_the_original(schema: dict[str, Any], text: str) -> None:
    answer = answerer_for(_reduced(schema), schema).answer(text)
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(answer)


def _reduced(value: Any) -> Any:
    """The schema without what output grammars do not express."""
    dropped = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength")
    if isinstance(value, dict):
        return {k: _reduced(v) for k, v in value.items() if k not in (*dropped, "minItems", "maxItems", "pattern")}
    return [_reduced(child) for child in value] if isinstance(value, list) else value


def answers(schema: JsonObject, *texts: str, as_tool: bool = False) -> list[Json]:
    question = Question(system="", prompt=pack_text(*texts), schema=schema, as_tool=as_tool, max_tokens=99_999)
    entries: list[dict[str, Json]] = json.loads(compose_reply(question, None).text)["results"]
    return [{name: value for name, value in entry.items() if name != "n"} for entry in entries]


def test_a_block_gets_the_same_answer_alone_and_in_any_pack() -> None:
    alone = [answers(pack_schema(), text)[0] for text in TEXTS]
    assert answers(pack_schema(), *TEXTS) == alone
    assert answers(pack_schema(), *reversed(TEXTS)) == alone[::-1]
    assert answers(pack_schema(), *TEXTS, as_tool=True) == alone


def test_different_blocks_get_different_answers() -> None:
    first, second, third = answers(pack_schema(), *TEXTS)
    assert first != second != third


def test_fields_of_one_name_under_different_parents_are_chosen_apart() -> None:
    child: JsonObject = {"type": "object", "properties": {"flag": {"type": "boolean"}}, "required": ["flag"]}
    schema: JsonObject = {"type": "object", "properties": {"a": child, "b": child}, "required": ["a", "b"]}
    found = [answerer_for(schema, None).answer(f"text {number}") for number in range(20)]
    assert any(isinstance(answer, dict) and answer["a"] != answer["b"] for answer in found)


def test_strings_are_taken_from_the_blocks_own_words() -> None:
    for text, answer in zip(TEXTS, answers(pack_schema(), *TEXTS), strict=True):
        assert isinstance(answer, dict)
        assert str(answer["quote"]) in text


def test_a_revision_is_about_the_whole_block() -> None:
    schema: JsonObject = {"type": "object", "properties": {"revised": {"type": "string"}}, "required": ["revised"]}
    answer = answerer_for(schema, None).answer("the   old text\nof a block")
    assert answer == {"revised": "The old text of a block."}


@pytest.mark.parametrize(
    ("node", "fits"),
    [
        ({"type": "string", "description": "Short.\n\n{maxLength: 12}"}, lambda v: len(v) <= 12),
        ({"type": "string", "description": "At least. {minLength: 200}"}, lambda v: len(v) >= 200),
        ({"type": "string", "description": "{pattern: ^[A-Z]{3}$}"}, lambda v: len(v) == 3 and v.isupper()),
        ({"type": "integer", "description": "{minimum: 900, maximum: 905}"}, lambda v: 900 <= v <= 905),
        ({"type": "array", "items": {"type": "integer"}, "description": "{minItems: 3}"}, lambda v: len(v) >= 3),
    ],
)
def test_constraints_moved_into_descriptions_are_obeyed(node: JsonObject, fits: Any) -> None:
    schema: JsonObject = {"type": "object", "properties": {"field": node}, "required": ["field"]}
    answer = answerer_for(schema, None).answer(TEXTS[0])
    assert isinstance(answer, dict)
    assert fits(answer["field"])


def test_null_is_never_said_where_the_original_schema_knows_none() -> None:
    reduced: JsonObject = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    original: JsonObject = {"type": "object", "properties": {"a": {"type": "string"}}}
    found = [answerer_for(reduced, original).answer(f"text {number}") for number in range(40)]
    assert {} in found  # an optional field may be missing
    assert {"a": None} not in found


def test_a_recursive_tool_schema_ends() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"value": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["value", "children"],
    }
    jsonschema_rs.validator_for(schema).validate(answerer_for(schema, None).answer(TEXTS[0]))


def test_the_ordinal_stands_beside_a_field_that_is_called_the_same() -> None:
    entry: JsonObject = {
        "type": "object",
        "properties": {"_n": {"type": "integer"}, "n": {"type": "string"}},
        "required": ["_n", "n"],
        "additionalProperties": False,
    }
    question = Question(
        system="", prompt=pack_text("only", key="_n"), schema=pack_schema(entry), as_tool=False, max_tokens=999
    )
    assert json.loads(compose_reply(question, None).text) == {"results": [{"_n": 1, "n": "only"}]}


def test_every_entry_of_a_pack_is_valid_against_the_entry_schema() -> None:
    question = Question(system="", prompt=pack_text(*TEXTS), schema=pack_schema(), as_tool=False, max_tokens=9999)
    value = json.loads(compose_reply(question, None).text)
    jsonschema_rs.validator_for(pack_schema()).validate(value)
    assert [entry["n"] for entry in value["results"]] == [1, 2, 3]
    assert set(ENTRY["required"]) <= set(value["results"][0])


def test_a_short_name_is_answered_as_the_name_that_its_description_begins_with() -> None:
    def answer(name: str, **members: Json) -> Json:
        entry: JsonObject = {"type": "string", **members}
        schema: JsonObject = {"type": "object", "properties": {name: entry}, "required": [name]}
        return as_object(answerer_for(schema, schema).answer("The tenant pays the rent in time."))[name]

    rewritten = answer("revised_text")
    assert rewritten == "The tenant pays the rent in time."
    assert answer("rt", description="revised_text | as a sentence") == rewritten
    assert answer("rt", description="Revised in full") != rewritten
