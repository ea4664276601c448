"""The dialect over the shipped schemas and over generated ones."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.anthropic_dialect import NotExpressible, to_dialect
from tokenopt_pipeline.adapters.files import shipped_schemas
from tokenopt_pipeline.domain.prompts import output_schema
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline_tests.adapters.dialect_rules import TAKEN, an_object, assert_accepted
from tokenopt_pipeline_tests.domain.generated import JSON_VALUES, examples


@pytest.mark.parametrize("name", shipped_schemas())
def test_every_shipped_schema_is_expressible_and_accepted(name: str) -> None:
    asked = output_schema(parse_schema(json.loads(shipped_schemas()[name]), name=name))
    schema = to_dialect(asked)
    assert_accepted(schema)
    entry = schema["properties"]["results"]["items"]
    assert list(entry["properties"]) == list(asked["properties"]["results"]["items"]["properties"])  # type: ignore[index]


_NAMES = st.sampled_from(["a", "b", "c", "anyOf", "$ref"])
_LEAVES = st.one_of(
    st.builds(
        lambda kind, more: {"type": kind, **more},
        st.sampled_from(["string", "integer", "number", "boolean", "null", ["string", "null"], ["object", "null"]]),
        st.fixed_dictionaries(
            {},
            optional={
                "maxLength": st.integers(1, 9),
                "minimum": st.integers(),
                "format": st.sampled_from(["date", "iri"]),
                "pattern": st.sampled_from(["^a+$", r"(?=a)", r"\bx"]),
                "description": st.sampled_from(["", "D (1)"]),
                "default": st.sampled_from([None, {"$ref": "#"}]),
                "not": st.just({"type": "null"}),
            },
        ),
    ),
    st.sampled_from(
        [{"enum": ["a", 1, None]}, {"enum": [{}, []]}, {"enum": [True, {"a": 1}]}, {"const": "a"}, {"const": []}]
    ),
    st.sampled_from([{"$ref": "#/$defs/d"}, {"$ref": "#/$defs/e"}, {"$ref": "#"}, {}, True]),
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(_NAMES, inner, max_size=3)
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds(
            lambda props, required, more: {"type": "object", "properties": props, "required": required, **more},
            properties,
            st.lists(_NAMES, unique=True, max_size=2),
            st.fixed_dictionaries(
                {},
                optional={
                    "additionalProperties": st.one_of(st.booleans(), inner),
                    "minProperties": st.integers(0, 2),
                    "patternProperties": properties,
                    "anyOf": several,
                    "allOf": several,
                },
            ),
        ),
        st.builds(
            lambda items, more: {"type": "array", "items": items, **more},
            inner,
            st.fixed_dictionaries({}, optional={"minItems": st.integers(0, 3), "maxItems": st.integers(3, 9)}),
        ),
        st.builds(lambda key, parts: {key: parts}, st.sampled_from(["anyOf", "oneOf", "allOf"]), several),
    )


_SCHEMAS = st.builds(
    lambda root, d, e: {**an_object(root=root), "$defs": {"d": d, "e": e}},
    *[st.recursive(_LEAVES, _deeper, max_leaves=6)] * 3,
)


@given(schema=_SCHEMAS)
@examples(150)
def test_a_translated_schema_has_no_refused_keyword_whatever_the_original(schema: dict[str, Any]) -> None:
    before = json.dumps(schema)
    try:
        result = to_dialect(schema)
    except NotExpressible:
        return
    assert_accepted(result)
    jsonschema_rs.meta.validate(result)
    assert json.dumps(schema) == before
    assert to_dialect(schema) == result


@given(schema=st.dictionaries(st.sampled_from([*TAKEN, "allOf", "oneOf", "minimum", "prefixItems"]), JSON_VALUES))
@examples(120)
def test_nothing_but_not_expressible_comes_out_of_a_schema_that_is_none(schema: dict[str, Any]) -> None:
    with suppress(NotExpressible):
        to_dialect(schema)
