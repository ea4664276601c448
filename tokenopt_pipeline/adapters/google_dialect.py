"""Gemini's dialect of JSON Schema, `response_json_schema`: what it does not read moves into descriptions.

Source: the docstring of `GenerateContentConfig.response_json_schema` (SDK 3.4) and the structured output guide, as read in
2026-11. Optional properties stay optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenopt_pipeline.adapters.schema_dialects import Dialect, Reference, Translation
from tokenopt_pipeline.adapters.schema_reading import NotExpressible

_GEMINI = Dialect(
    constraints=frozenset({"format", "minItems", "maxItems", "minimum", "maximum", "prefixItems"}),
    formats=frozenset({"date-time", "date", "time"}),
    enum_types=frozenset({"string", "number", "integer"}),
    mixes_enum_types=False,
    requires_all=False,
)


def to_dialect(schema: Mapping[str, object]) -> dict[str, Any]:
    """The schema as Gemini reads it. Raises NotExpressible."""
    translation = Translation(schema, _GEMINI)
    _refuse_required_recursion(translation.references)
    return translation.schema


def _refuse_required_recursion(references: Mapping[str, list[Reference]]) -> None:
    """Recursion is unrolled a few times, so it may only stand in properties that may be left out."""
    for start, leading in references.items():
        for reference in leading:
            if not reference.is_optional and start in _reachable(reference.target, references):
                raise NotExpressible(f"recursion through {reference.target} in a required property")


def _reachable(start: str, references: Mapping[str, list[Reference]]) -> set[str]:
    """The definitions that can be reached from one, itself included."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        target = waiting.pop()
        if target not in found:
            found.add(target)
            waiting += [reference.target for reference in references.get(target, [])]
    return found
