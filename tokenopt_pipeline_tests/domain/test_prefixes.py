"""Two requests have the same prefix exactly when a provider could share its cache entry between them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.prefixes import Prefix, prefix_of
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline_tests.factories import a_model, a_request


def a_prefix(**changes: Any) -> Prefix:
    parts = {
        "model": "a/m",
        "system": "s",
        "output_schema": {"type": "object"},
        "output_method": "tool",
        "thinking": None,
    }
    return prefix_of(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model": "a/n"}, "model"),
        ({"system": "s "}, "system"),
        ({"output_schema": {"type": "array"}}, "output_schema"),
        ({"output_method": "json_schema"}, "manner"),
        ({"thinking": "{}"}, "manner"),
    ],
)
def test_every_part_makes_another_prefix_and_is_named(changes: dict[str, Any], part: str) -> None:
    one, other = a_prefix(), a_prefix(**changes)
    assert one.fingerprint != other.fingerprint
    assert [name for name, digest in one.document().items() if other.document()[name] != digest] == [part]


def test_what_differs_between_packs_is_no_part_of_it() -> None:
    one, other = a_request(user="<1>", max_tokens=100), a_request(user="<2>", max_tokens=900, cache_ttl="1h")
    assert one.prefix == other.prefix
    assert one.fingerprint != other.fingerprint


def test_limits_of_the_model_are_no_part_of_it_and_its_manner_is() -> None:
    ref = ModelRef(provider="anthropic", model="claude-opus-5")
    plain, wide = a_request(model=a_model(ref=ref)), a_request(model=a_model(ref=ref, context_tokens=9_000))
    assert plain.prefix == wide.prefix
    assert plain.prefix != a_request(model=a_model(ref=ref, thinking='{"type":"disabled"}')).prefix
