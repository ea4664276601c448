"""Schemas and answers against JSON Schema."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators, ToolSchemaValidators
from tokenopt_pipeline.domain.errors import InvalidInput, SchemaInvalid
from tokenopt_pipeline.domain.schemas import ExtractionSchema
from tokenopt_pipeline.domain.tools import Tool, toolbox
from tokenopt_pipeline_tests.factories import a_schema, a_tool

_DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-04/schema#",
)


def as_it_is(**members: Any) -> ExtractionSchema:
    """A schema with these keywords, whatever parsing one would refuse by itself."""
    return replace(a_schema(), answer_schema={"type": "object", "properties": {}, **members})


def refusal_of(**members: Any) -> str:
    with pytest.raises(SchemaInvalid) as caught:
        JsonSchemaValidators().check_schema(as_it_is(**members))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def violation(fragment: dict[str, Any], value: object, **members: Any) -> str | None:
    schema = as_it_is(properties={"it": fragment}, required=["it"], **members)
    return JsonSchemaValidators().violation_of(schema)({"it": value})


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for) of a web server."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "string"}')

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


@pytest.mark.parametrize("draft", [None, *_DRAFTS])
def test_a_schema_of_any_known_draft_passes(draft: str | None) -> None:
    JsonSchemaValidators().check_schema(as_it_is(**({} if draft is None else {"$schema": draft})))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"properties": {"a": {"type": "strin"}}}, "properties/a/type"),
        ({"properties": {"a": {"minLength": -1}}}, "properties/a/minLength: -1 is less than the minimum of 0"),
        ({"properties": {"a": {"pattern": "("}}}, "properties/a/pattern"),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, "'/$defs/no' does not exist"),
        ({"properties": {"a": 5}}, "properties/a"),
        ({"$schema": 5}, "$schema"),
        ({"$schema": "urn:mine"}, "$schema 'urn:mine' is not a known draft"),
        ({"$id": "http://[bad"}, "Invalid URI reference"),
    ],
)
def test_what_is_no_json_schema_is_refused_with_its_place(members: dict[str, Any], said: str) -> None:
    message = refusal_of(**members)
    assert message.startswith("schema obligations is not a JSON Schema: ")
    assert said in message


@pytest.mark.parametrize("place", ["$schema", "$ref", "$dynamicRef", "$id"])
def test_nothing_is_fetched_from_the_network(asked: tuple[str, list[str]], place: str) -> None:
    address, paths = asked
    if place == "$schema":
        refusal_of(**{"$schema": f"{address}/meta"})
    elif place == "$id":
        refusal_of(**{"$id": f"{address}/base", "properties": {"a": {"$ref": "other.json"}}})
    else:
        refusal_of(properties={"a": {place: f"{address}/other.json"}})
    assert paths == []


def test_a_file_is_no_other_document_to_refer_to_either() -> None:
    assert "refers to another document, file:///etc/hostname" in refusal_of(
        properties={"a": {"$ref": "file:///etc/hostname"}}
    )


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-02-28T10:00:00Z", "2026-02-28 10:00"),
        ("email", "a@example.com", "a at example"),
        ("uri", "https://example.com/a", "not a uri"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2eb8aa08"),
    ],
)
def test_formats_are_checked(form: str, right: str, wrong: str) -> None:
    assert violation({"type": "string", "format": form}, right) is None
    assert violation({"type": "string", "format": form}, wrong) == f'it: "{wrong}" is not a "{form}"'


@pytest.mark.parametrize(
    ("fragment", "value", "said"),
    [
        ({"type": "integer"}, "three", 'it: "three" is not of type "integer"'),
        ({"enum": ["a", "b"]}, "c", 'it: "c" is not one of "a" or "b"'),
        ({"maxLength": 3}, "four\nlines", 'it: "four\\nlines" is longer than 3 characters'),
        ({"items": {"type": "string"}}, ["a", 2], 'it/1: 2 is not of type "string"'),
        ({"type": "array", "maxItems": 1}, [1, 2], "it: [1,2] has more than 1 item"),
    ],
)
def test_a_violation_is_one_line_with_its_place(fragment: dict[str, Any], value: object, said: str) -> None:
    assert violation(fragment, value) == said


def test_a_missing_field_and_one_nobody_asked_for_are_violations() -> None:
    violation_of = JsonSchemaValidators().violation_of(a_schema())
    assert violation_of({"kind": "duty"}) is None
    assert violation_of({}) == '"kind" is a required property'
    assert "'more'" in str(violation_of({"kind": "duty", "more": 1}))


def test_a_violation_is_cut_to_a_line_that_can_be_stored() -> None:
    said = violation({"type": "integer"}, "x" * 100_000)
    assert said is not None
    assert len(said) == 300


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, "\ud800", {"\udfff": 1}], ids=str)
def test_values_that_json_spells_and_others_cannot_hold_raise_nothing(value: object) -> None:
    violation({}, value)


def test_a_violation_that_cannot_be_told_for_half_a_surrogate_pair_is_one_all_the_same() -> None:
    assert str(violation({"type": "integer"}, "half \ud83d")).startswith("it cannot be validated: ")


def test_a_violation_that_cannot_be_told_for_its_depth_is_one_all_the_same() -> None:
    value: object = 1
    for _ in range(900):
        value = [value]
    assert violation({"type": "string"}, value) == "it cannot be validated: Recursion limit reached"


def test_a_schema_that_refers_to_itself_is_followed_as_far_as_the_values_go() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}, "additionalProperties": False}
    definitions = {"$defs": {"tree": tree}}
    assert violation({"$ref": "#/$defs/tree"}, {"next": {"next": {}}}, **definitions) is None
    assert "last" in str(violation({"$ref": "#/$defs/tree"}, {"next": {"last": {}}}, **definitions))


# --- schemas of tools


def _validators(**schemas: Any) -> tuple[ToolSchemaValidators, Tool]:
    tool = a_tool(**schemas)
    return ToolSchemaValidators(toolbox([tool])), tool


def test_arguments_and_results_are_checked_against_the_schemas_of_their_tool() -> None:
    output = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    validators, tool = _validators(output_schema=output)
    assert validators.arguments_violation(tool, {"query": "commas"}) is None
    assert validators.arguments_violation(tool, {"query": 7}) == 'query: 7 is not of type "string"'
    assert validators.arguments_violation(tool, {}) == '"query" is a required property'
    assert validators.result_violation(tool, {"n": 1}) is None
    assert validators.result_violation(tool, {"n": "one"}) == 'n: "one" is not of type "integer"'
    assert validators.result_violation(tool, [1]) is not None


@pytest.mark.parametrize(
    ("schemas", "said"),
    [
        ({"input_schema": {"type": "objekt"}}, "its input schema is not a JSON Schema"),
        ({"output_schema": {"properties": 1}}, "its output schema is not a JSON Schema"),
        ({"input_schema": {"type": "object", "$ref": "https://example.com/x"}}, "refers to another document"),
        ({"input_schema": {"type": "object", "$schema": "https://example.com/draft"}}, "is not a known draft"),
    ],
)
def test_a_tool_whose_schema_is_none_is_refused_by_name(schemas: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        _validators(**schemas)
    assert str(refused.value).startswith("tool 'search_rules' of server style: ")
    assert said in str(refused.value)


@pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(?=(a+)+$)(a|aa)+$", r"^(a|a)*\1?$"])
def test_a_pattern_of_a_server_cannot_keep_us_busy(pattern: str) -> None:
    """To Python's own expressions, each of these takes hours."""
    validators, tool = _validators(output_schema={"type": "string", "pattern": pattern})
    started = time.monotonic()
    assert validators.result_violation(tool, "a" * 60 + "b") is not None
    assert time.monotonic() - started < 2
