"""An answer's form is chosen by name; both forms mean the same."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.encoding import COMPACT, PLAIN, answer_form
from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline_tests.factories import a_schema

_SCHEMA = a_schema(
    properties={"liability_cap": {"type": ["string", "null"]}, "party": {"type": "string"}},
    required=["liability_cap", "party"],
)


def test_the_plain_form_asks_the_schema_itself() -> None:
    form = answer_form(_SCHEMA, PLAIN)
    assert form.is_plain
    assert form.asked is _SCHEMA
    values = {"party": "Tenant", "liability_cap": None}
    assert form.encode(values) == values
    assert form.decode(values) == values


def test_the_compact_form_asks_a_shorter_schema_and_keeps_everything_else() -> None:
    form = answer_form(_SCHEMA, COMPACT)
    assert not form.is_plain
    assert list(form.asked.properties) == ["lc", "p"]
    assert (form.asked.ref, form.asked.schema_hash) == (_SCHEMA.ref, _SCHEMA.schema_hash)
    assert form.encode({"party": "Tenant", "liability_cap": None}) == {"p": "Tenant"}
    assert form.decode({"p": "Tenant"}) == {"liability_cap": None, "party": "Tenant"}


def test_the_compact_output_schema_says_nothing_that_the_system_prompt_has_said() -> None:
    assert "description" in ordered_json(answer_form(_SCHEMA, PLAIN).output_schema)
    assert "description" not in ordered_json(answer_form(_SCHEMA, COMPACT).output_schema)


@pytest.mark.parametrize("name", [PLAIN, COMPACT])
def test_the_same_schema_has_the_same_form(name: str) -> None:
    assert answer_form(_SCHEMA, name) == answer_form(a_schema(**_SCHEMA.answer_schema), name)
