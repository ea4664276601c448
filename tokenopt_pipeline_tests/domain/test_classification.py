"""The first pass is a schema like any other, and its answer maps to a tier, in doubt to the dearer one."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.classification import break_even_share, classification_schema, matched_tier
from tokenopt_pipeline.domain.prompts import system_prompt
from tokenopt_pipeline.domain.routing import TwoPass
from tokenopt_pipeline_tests.factories import a_schema

_TWO_PASS = TwoPass(classifier="small", simple="mid", complex="large")


def test_the_first_pass_asks_one_choice_and_names_the_fields_it_is_about() -> None:
    schema = a_schema(
        properties={
            "party": {"type": "string", "description": "who must act"},
            "kind": {"enum": ["a"]},
            "odd": True,
            "bare": {},
        },
        required=[],
        task="clauses",
        prompt_config={"per_block_prompt": "Find the duty."},
    )
    first = classification_schema(schema)
    assert dict(first.properties) == {"difficulty": {"enum": ["simple", "complex"], "type": "string"}}
    assert (first.ref, first.task) == ("obligations-two-pass", "clauses")
    prompt = system_prompt(first)
    for words in (
        "- party: who must act",
        "- kind: one of a list",
        "- odd\n",
        "- bare\n",
        "Find the duty.",
        "say complex",
    ):
        assert words in prompt


def test_a_long_ref_is_cut_to_a_valid_one() -> None:
    assert classification_schema(a_schema(ref="x" * 64)).ref == "x" * 55 + "-two-pass"


def test_equal_schemas_have_equal_first_passes() -> None:
    assert classification_schema(a_schema()) == classification_schema(a_schema())


@pytest.mark.parametrize(
    ("values", "tier", "word"),
    [
        ({"difficulty": "simple"}, "mid", "simple"),
        ({"difficulty": "complex"}, "large", "complex"),
        ({"difficulty": "hard"}, "large", "no usable"),
        ({}, "large", "no usable"),
        (None, "large", "no usable"),
    ],
)
def test_an_answer_maps_to_a_tier_with_its_reason(values: dict[str, Any] | None, tier: str, word: str) -> None:
    matched = matched_tier(_TWO_PASS, values)
    assert matched.tier == tier
    assert word in matched.reason


@pytest.mark.parametrize(
    ("usd_pass", "usd_simple", "usd_complex", "share"),
    [(1.0, 2.0, 12.0, 0.1), (0.0, 1.0, 2.0, 0.0), (5.0, 1.0, 2.0, None), (0.1, 2.0, 2.0, None)],
)
def test_a_first_pass_pays_from_a_share_of_simple_blocks_on(
    usd_pass: float, usd_simple: float, usd_complex: float, share: float | None
) -> None:
    assert break_even_share(usd_pass=usd_pass, usd_simple=usd_simple, usd_complex=usd_complex) == share
