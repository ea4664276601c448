"""A refusal points at the layer and the line of what must be changed."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.places import Places

_LINES = {"routing": 3, "routing.rules": 4, "routing.rules[0]": 5, "routing.rules[0].tier": 6}
_PLACES = Places(sources={"routing.rules": "policy p", "run.budget_usd": "--budget"}, lines={"policy p": _LINES})


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("routing.rules[0].tier", "policy p:6: routing.rules[0].tier"),
        ("routing.rules[0].tasks[2]", "policy p:5: routing.rules[0].tasks[2]"),
        ("routing.rules[7].id", "policy p:4: routing.rules[7].id"),
        ("run.budget_usd", "--budget: run.budget_usd"),
        ("packing.pack_size", "policy: packing.pack_size"),
    ],
)
def test_the_nearest_line_above_a_key_is_named(path: str, place: str) -> None:
    assert _PLACES.of(path) == place


def test_names_with_dots_are_keys_of_their_own() -> None:
    places = Places(sources={"models.a/m-5.4": "policy p"}, lines={"policy p": {"models": 1, "models.a/m-5.4": 2}})
    assert places.of("models.a/m-5.4") == "policy p:2: models.a/m-5.4"
    assert places.of("models.a/m-5.4.price.input") == "policy p:2: models.a/m-5.4.price.input"


def test_a_key_whose_section_has_no_line_is_named_by_its_layer_alone() -> None:
    assert _PLACES.within("policy p", "packing.size") == "policy p"
    assert _PLACES.within("elsewhere", "routing.rules") == "elsewhere"
