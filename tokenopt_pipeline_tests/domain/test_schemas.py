"""Extraction schemas: what is refused, what the hash covers, what a schema asks for."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import SchemaInvalid
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.schemas import DEFAULT_PER_BLOCK, DEFAULT_SYSTEM, field_names, parse_schema
from tokenopt_pipeline_tests.factories import a_schema, a_schema_document, a_schema_of

_DEEP: dict[str, Any] = {}
_DEEP["inner"] = _DEEP


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param([], ["JSON object", "list"], id="a list"),
        pytest.param("{}", ["JSON object", "str"], id="text"),
        pytest.param(a_schema_document(type="array"), ["type", "array"], id="another type"),
        pytest.param(a_schema_document(type=["object"]), ["type", "object"], id="a union type"),
        pytest.param(a_schema_document(properties=None), ["properties"], id="no properties"),
        pytest.param(a_schema_document(properties={}), ["properties"], id="empty properties"),
        pytest.param(a_schema_document(properties=["a"]), ["properties"], id="properties in a list"),
        pytest.param(a_schema_document(required="kind"), ["required"], id="required is text"),
        pytest.param(a_schema_document(required=[1]), ["required"], id="required holds a number"),
        pytest.param(a_schema_document(required=["kind", "date"]), ["required", "'date'"], id="required is unknown"),
        pytest.param(a_schema_document(prompt_config=[]), ["prompt_config"], id="prompt_config is a list"),
        pytest.param(
            a_schema_document(prompt_config={"topp": 1}),
            ["prompt_config.topp", "max_tokens_per_block"],
            id="unknown prompt_config member",
        ),
        pytest.param(
            a_schema_document(prompt_config={"system_instructions": " \n"}),
            ["prompt_config.system_instructions"],
            id="blank instructions",
        ),
        pytest.param(
            a_schema_document(prompt_config={"per_block_prompt": 5}),
            ["prompt_config.per_block_prompt"],
            id="a number for a prompt",
        ),
        pytest.param(a_schema_document(task="a b"), ["task", "'a b'"], id="a task with a space"),
        pytest.param(a_schema_document(task=5), ["task", "5"], id="a number for a task"),
        pytest.param(a_schema_document(checks=[{"id": "c"}]), ["checks[0]", "covers"], id="half a check"),
        pytest.param(a_schema_document(prefilter=7), ["prefilter"], id="prefilter is a number"),
        pytest.param(
            a_schema_document(prefilter={"min_words": 7}),
            ["prefilter.min_words", "heading_min_words"],
            id="unknown prefilter member",
        ),
        *[
            pytest.param(
                a_schema_document(prefilter={"heading_min_words": value}),
                ["prefilter.heading_min_words", repr(value), "0 to 50"],
                id=f"heading_min_words {value!r}",
            )
            for value in (-1, 51, True, 2.0, "3")
        ],
        pytest.param(
            a_schema_document(prefilter={"keep_types": ["poem"]}),
            ["prefilter.keep_types", "'poem'", "paragraph"],
            id="unknown kept type",
        ),
        pytest.param(a_schema_document(applies_to=["poem"]), ["applies_to", "'poem'"], id="unknown type"),
        pytest.param(a_schema_document(applies_to=[["table"]]), ["applies_to", "['table']"], id="a type in a list"),
        pytest.param(a_schema_document(applies_to=[]), ["applies_to"], id="applies to nothing"),
        pytest.param(a_schema_document(applies_to="table"), ["applies_to"], id="a type outside a list"),
        pytest.param(a_schema_document(retrieval="always"), ["retrieval", "'always'", "critical"], id="retrieval"),
        pytest.param(a_schema_document(retrieval=["none"]), ["retrieval"], id="retrieval in a list"),
        pytest.param(a_schema_document(references="guide"), ["references"], id="references is text"),
        pytest.param(a_schema_document(references=[1]), ["references"], id="references holds a number"),
        pytest.param(a_schema_document(minimum=float("nan")), ["JSON"], id="NaN"),
        pytest.param(a_schema_document(title="\ud800"), ["JSON", "surrogate"], id="half a surrogate pair"),
        pytest.param(a_schema_document(examples={1: 2, "a": 3}), ["JSON"], id="keys of two kinds"),
        pytest.param(a_schema_document(examples=_DEEP), ["JSON"], id="a value inside itself"),
        pytest.param(a_schema_document(title="a\0b"), ["NUL"], id="NUL"),
    ],
)
def test_a_document_that_is_no_schema_is_refused_naming_what_is_wrong(document: object, words: list[str]) -> None:
    with pytest.raises(SchemaInvalid) as refusal:
        parse_schema(document, name="leases")
    message = str(refusal.value)
    assert message.startswith("schema leases: ")
    assert all(word in message for word in words)
    assert "\n" not in message


@pytest.mark.parametrize("ref", ["a", "7", "a-b_c", "0" * 64])
def test_a_ref_of_lower_case_letters_digits_dash_and_underscore_is_taken(ref: str) -> None:
    assert a_schema(ref=ref).ref == ref


@pytest.mark.parametrize("ref", ["", "A", "-a", "_a", "a b", "a.b", "é", "a\n", "0" * 65, 5])
def test_another_ref_is_refused_by_name(ref: object) -> None:
    with pytest.raises(SchemaInvalid) as refusal:
        a_schema(ref=ref)
    assert f"ref {ref!r}" in str(refusal.value)


def test_a_schema_without_a_ref_goes_by_the_name_it_was_given() -> None:
    assert parse_schema(a_schema_document(ref=None), name="leases").ref == "leases"
    with pytest.raises(SchemaInvalid, match="My Leases"):
        parse_schema(a_schema_document(ref=None), name="My Leases")


def test_a_literal_backslash_u0000_in_a_schema_is_only_text() -> None:
    assert a_schema(title="\\u0000").answer_schema["title"] == "\\u0000"


def test_what_a_schema_leaves_out_has_a_default() -> None:
    schema = parse_schema({"properties": {"a": {}}}, name="s")
    assert schema.answer_schema == {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    assert (schema.system_instructions, schema.per_block_prompt) == (DEFAULT_SYSTEM, DEFAULT_PER_BLOCK)
    assert (schema.applies_to, schema.keep_types, schema.heading_min_words) == (None, frozenset(), 0)
    assert (schema.retrieval, schema.references, schema.policy_hints, schema.notes) == ("none", (), {}, ())


def test_what_a_schema_states_is_kept() -> None:
    schema = a_schema(
        applies_to=["table", "paragraph"],
        prefilter={"heading_min_words": 50, "keep_types": ["divider"]},
        prompt_config={"system_instructions": " S ", "per_block_prompt": "P"},
        retrieval="critical",
        references=["b", "a"],
        additionalProperties=True,
    )
    assert schema.applies_to == frozenset({BlockType.TABLE, BlockType.PARAGRAPH})
    assert (schema.heading_min_words, schema.keep_types) == (50, frozenset({BlockType.DIVIDER}))
    assert (schema.system_instructions, schema.per_block_prompt) == (" S ", "P")
    assert (schema.retrieval, schema.references) == ("critical", ("b", "a"))
    assert schema.answer_schema["additionalProperties"] is True


def test_a_schema_names_its_task_or_is_one_itself() -> None:
    assert (a_schema(task="legal/clauses").task, a_schema().task) == ("legal/clauses", "obligations")


def test_checks_know_the_schema_s_own_fields() -> None:
    (check,) = a_schema(checks=[{"id": "c", "then": {"field": "party", "is": "present"}}]).checks
    assert check.is_broken_by({"party": "N/A"})


def test_answers_are_validated_without_the_members_that_are_ours() -> None:
    ours: dict[str, Any] = {"applies_to": ["table"], "retrieval": "none", "references": [], "task": "t", "checks": []}
    schema = a_schema(**ours, prefilter={}, prompt_config={}, title="T")
    assert set(schema.answer_schema) == {"type", "properties", "required", "additionalProperties", "title"}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"properties": {"kind": {"enum": ["duty", "right"]}}}, id="a field"),
        pytest.param({"required": ["kind", "party"]}, id="required"),
        pytest.param({"additionalProperties": True}, id="additionalProperties"),
        pytest.param({"description": "Duties."}, id="description"),
        pytest.param({"$defs": {"a": {}}}, id="definitions"),
        pytest.param({"prompt_config": {"system_instructions": "Be brief."}}, id="system instructions"),
        pytest.param({"prompt_config": {"per_block_prompt": "Be brief."}}, id="per-block prompt"),
        pytest.param({"applies_to": ["paragraph"]}, id="applies_to"),
        pytest.param({"prefilter": {"heading_min_words": 1}}, id="heading_min_words"),
        pytest.param({"prefilter": {"keep_types": ["table"]}}, id="keep_types"),
        pytest.param({"retrieval": "eligible"}, id="retrieval"),
        pytest.param({"references": ["guide"]}, id="references"),
        pytest.param({"task": "clauses"}, id="task, which rules may route by"),
        pytest.param({"checks": [{"id": "c", "covers": ["numbers"]}]}, id="checks, which may escalate"),
    ],
)
def test_the_hash_changes_with_all_that_can_change_an_answer(members: dict[str, Any]) -> None:
    assert a_schema(**members).schema_hash != a_schema().schema_hash


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"ref": "other"}, id="the name people use"),
        pytest.param({"type": None}, id="the type, which is always object"),
        pytest.param({"additionalProperties": False}, id="a default that is stated"),
        pytest.param({"retrieval": "none", "references": [], "prefilter": {}}, id="defaults that are stated"),
        pytest.param({"task": "obligations", "checks": []}, id="its own task and no checks"),
        pytest.param({"prompt_config": {"temperature": 0.3}}, id="a temperature, which has no effect"),
        pytest.param({"prompt_config": {"max_batch_size": 3}}, id="a policy hint, which the policy's hash covers"),
    ],
)
def test_the_hash_stays_for_what_cannot(members: dict[str, Any]) -> None:
    assert a_schema(**members).schema_hash == a_schema().schema_hash


def test_the_hash_tells_types_apart() -> None:
    assert a_schema(applies_to=["table"]).schema_hash != a_schema(applies_to=["paragraph"]).schema_hash


def test_the_hash_does_not_depend_on_the_order_of_keys_or_of_sets() -> None:
    document = a_schema_document(
        applies_to=["table", "paragraph"], prefilter={"keep_types": ["divider", "figure"], "heading_min_words": 3}
    )
    turned = {key: document[key] for key in reversed(document)}
    turned["applies_to"] = ["paragraph", "table"]
    turned["prefilter"] = {"heading_min_words": 3, "keep_types": ["figure", "divider"]}
    assert parse_schema(turned, name="s").schema_hash == parse_schema(document, name="s").schema_hash


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"b": {}, "a": {"properties": {"c": {}, "d": {}}}}, id="at the top"),
        pytest.param({"a": {"properties": {"d": {}, "c": {}}}, "b": {}}, id="in an object"),
    ],
)
def test_the_hash_depends_on_the_order_of_the_fields_because_models_answer_in_it(properties: dict[str, Any]) -> None:
    ordered = a_schema(properties={"a": {"properties": {"c": {}, "d": {}}}, "b": {}}, required=[])
    assert a_schema(properties=properties, required=[]).schema_hash != ordered.schema_hash


def test_parsing_leaves_the_document_as_it_was() -> None:
    document = a_schema_document(prompt_config={"model": "anthropic/m"})
    before = copy.deepcopy(document)
    parse_schema(document, name="s")
    assert document == before


def test_prompt_config_s_older_names_become_policy_that_resolves() -> None:
    schema = a_schema(prompt_config={"model": "anthropic/m", "max_batch_size": 4, "max_tokens_per_block": 900})
    assert schema.policy_hints == {
        "routing": {"model": "anthropic/m"},
        "packing": {"pack_size": 4, "single_block_output_tokens": 900},
    }
    policy = resolve([("schema", schema.policy_hints)]).policy
    assert (policy.packing.pack_size, policy.packing.single_block_output_tokens) == (4, 900)
    assert set(policy.routing.models.values()) == {("anthropic/m",)}


@pytest.mark.parametrize(
    ("prompt_config", "hints"),
    [
        ({"max_batch_size": 4}, {"packing": {"pack_size": 4}}),
        ({"max_tokens_per_block": 900}, {"packing": {"single_block_output_tokens": 900}}),
        ({"model": "anthropic/m"}, {"routing": {"model": "anthropic/m"}}),
    ],
)
def test_each_hint_stands_alone(prompt_config: dict[str, Any], hints: dict[str, Any]) -> None:
    assert a_schema(prompt_config=prompt_config).policy_hints == hints


def test_a_temperature_is_noted_as_having_no_effect() -> None:
    (note,) = a_schema(prompt_config={"temperature": 0}).notes
    assert "temperature" in note


def test_field_names_are_those_of_objects_at_any_depth_in_order_and_not_of_array_items() -> None:
    inner = {"type": "object", "properties": {"b": {}, "c": {"properties": {"d": True}}}}
    rows = {"type": "array", "items": {"properties": {"hidden": {}}}}
    assert list(field_names({"properties": {"a": inner, "rows": rows, "e": True}})) == ["a", "b", "c", "d", "rows", "e"]
    assert list(field_names({"properties": ["a"]})) == []


@pytest.mark.parametrize(
    ("field", "is_text_heavy", "repeats_block"),
    [
        pytest.param("action", False, False, id="short"),
        pytest.param("final", True, False, id="final"),
        pytest.param("final_date", False, False, id="final is a whole name"),
        pytest.param("Diff_Summary", True, False, id="summary"),
        pytest.param("analysis", True, False, id="analysis"),
        pytest.param("reasoning", True, False, id="reason"),
        pytest.param("content", True, True, id="content"),
        pytest.param("revised_text", True, True, id="revised"),
        pytest.param("rewrite", True, True, id="rewrite"),
        pytest.param("revision_notes", True, True, id="revision"),
    ],
)
def test_field_names_tell_whether_answers_are_prose_and_whether_they_repeat_the_block(
    field: str, is_text_heavy: bool, repeats_block: bool
) -> None:
    inner = {"o": {"type": "object", "properties": {field: {}}}}
    for schema in (a_schema_of(field), a_schema(properties=inner, required=[])):
        assert (schema.is_text_heavy, schema.repeats_block) == (is_text_heavy, repeats_block)


@pytest.mark.parametrize(
    ("field", "block_type", "expected"),
    [
        pytest.param("line_items", BlockType.TABLE, True, id="line_item"),
        pytest.param("Table_Title", BlockType.TABLE, True, id="case"),
        pytest.param("party", BlockType.TABLE, False, id="nothing about tables"),
        pytest.param("code_language", BlockType.CODE_BLOCK, True, id="code"),
        pytest.param("party", BlockType.CODE_BLOCK, False, id="nothing about code"),
        pytest.param("divider", BlockType.DIVIDER, False, id="no field is about dividers"),
    ],
)
def test_a_schema_names_a_type_by_a_field_that_is_about_it(field: str, block_type: BlockType, expected: bool) -> None:
    assert a_schema_of(field).names_type(block_type) is expected


def test_a_schema_names_a_type_that_it_applies_to_or_keeps() -> None:
    assert a_schema(applies_to=["divider"]).names_type(BlockType.DIVIDER)
    assert a_schema(prefilter={"keep_types": ["divider"]}).names_type(BlockType.DIVIDER)
    assert not a_schema(applies_to=["paragraph"]).names_type(BlockType.DIVIDER)


@pytest.mark.parametrize("ref", ["#", "#/properties/a", "other.json", "#anchor"])
def test_references_that_leave_the_definitions_are_refused(ref: str) -> None:
    with pytest.raises(SchemaInvalid, match="refers to"):
        parse_schema({"properties": {"a": {"items": [{"$ref": ref}]}}}, name="s")


def test_a_reference_into_the_definitions_is_kept() -> None:
    schema = parse_schema({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}, name="s")
    assert schema.properties["a"] == {"$ref": "#/$defs/x"}


def test_retrieval_and_references_are_said_to_have_no_effect_yet() -> None:
    assert "no effect" in parse_schema({"properties": {"a": {}}, "retrieval": "critical"}, name="s").notes[0]


@pytest.mark.parametrize("member", ["retreival", "prompt", "propertys"])
def test_a_member_that_nobody_knows_is_refused_rather_than_ignored(member: str) -> None:
    with pytest.raises(SchemaInvalid, match=f"unknown member '{member}'"):
        parse_schema({"properties": {"a": {}}, member: 1}, name="s")


def test_members_for_others_may_be_marked_as_such() -> None:
    assert parse_schema({"properties": {"a": {}}, "x-team": "legal"}, name="s").ref == "s"
