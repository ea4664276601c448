"""A value that the block does not state is doubted, one that it states in other words is not."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.answer_tree import Node
from tokenopt_pipeline.domain.grounding import read_text
from tokenopt_pipeline.domain.value_doubts import is_default, value_doubts

_TEXT = "The tenant pays $1,200 rent at a rate of 5% on March 5, 2023."


def _doubts(value: object, text: str = _TEXT, **schema: Any) -> list[str]:
    return [d.id for d in value_doubts(Node(value, schema, "/field"), read_text(text), len(text))]


@pytest.mark.parametrize(
    ("value", "schema", "doubts"),
    [
        pytest.param(1200, {}, [], id="a stated number"),
        pytest.param(-1200, {}, [], id="whatever its sign"),
        pytest.param(1300, {}, ["number_not_in_text"], id="another number"),
        pytest.param(10**400, {}, ["number_not_in_text"], id="a number beyond all"),
        pytest.param(True, {}, [], id="a truth value states nothing"),
        pytest.param("zzz", {"const": "zzz"}, [], id="a constant"),
        pytest.param(0.05, {"type": "number"}, [], id="a percentage as a fraction"),
        pytest.param(5, {"type": "number"}, ["percent_scale"], id="a percentage's figure"),
        pytest.param(5, {"type": "integer"}, [], id="where only whole numbers fit"),
        pytest.param(5, {"type": "number", "description": "in percent"}, [], id="in a field of percents"),
        pytest.param("tenant", {"enum": ["tenant", "landlord"]}, [], id="a choice by its word"),
        pytest.param("landlord", {"enum": ["tenant", "landlord"]}, ["choice_not_in_text"], id="another choice"),
        pytest.param("2023-03-05", {"format": "date"}, [], id="a date"),
        pytest.param("5 March 2023", {}, [], id="a date in a field of texts"),
        pytest.param("2024-03-05", {}, ["date_not_in_text"], id="another date"),
        pytest.param("soon", {"format": "date"}, [], id="no date at all is the schema's matter"),
        pytest.param("the Tenant", {}, [], id="a text"),
        pytest.param("the landlord", {}, ["text_not_in_text"], id="another text"),
        pytest.param("tenant and landlord", {}, ["text_partly_in_text"], id="part of a text"),
        pytest.param("rent " * 20, {}, ["longer_than_text"], id="a text that goes on and on"),
    ],
)
def test_a_value_is_doubted_for_what_the_block_does_not_state(
    value: object, schema: dict[str, Any], doubts: list[str]
) -> None:
    assert _doubts(value, **schema) == doubts


def test_a_long_value_of_a_short_block_is_not_too_long_while_it_is_short() -> None:
    assert "longer_than_text" not in _doubts("a word more", text="a word")


def test_every_doubt_says_in_one_sentence_what_was_found() -> None:
    for value in (1300, "the landlord", "tenant and landlord", "2024-03-05", "x" * 200):
        (*_, doubt) = value_doubts(Node(value, {}, "/field"), read_text(_TEXT), len(_TEXT))
        assert doubt.path == "/field"
        assert "field" in doubt.evidence
        assert doubt.evidence.endswith(".")


@pytest.mark.parametrize(
    ("value", "schema", "default"),
    [
        (10, {"default": 10}, True),
        (11, {"default": 10, "description": "default is 11"}, False),
        ("bus", {"description": "Preferred mode. Default is 'bus'."}, True),
        ("train", {"description": "Preferred mode. Default is 'bus'."}, False),
        ("bus", {"description": "The bus to take."}, False),
        (1, {"description": "Default is 10."}, False),
    ],
)
def test_a_default_is_what_the_schema_says_itself(value: object, schema: dict[str, Any], default: bool) -> None:
    assert is_default(Node(value, schema, "/field")) is default
