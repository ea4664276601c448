"""What a value must satisfy, gathered from wherever a model could read it: the schema node, its description, the original."""

from __future__ import annotations

import json
import re

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, is_number

_KEYWORDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "pattern",
    "format",
)
# `{minLength: 1, pattern: ^a$}` as SDKs write dropped keywords, and looser prose such as `maxLength 40`.
_DESCRIBED = re.compile(
    r"\b(minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|minLength|maxLength|minItems|maxItems)\b"
    r"[\"'`]?\s*(?:[:=]|is|of)?\s*(-?\d+(?:\.\d+)?)"
)
_DESCRIBED_PATTERN = re.compile(r"\{(?:.*, )?pattern: (?P<pattern>.+?)(?:, \w+: [^{}]*)?\}\s*$", re.DOTALL)
_DESCRIBED_FORMAT = re.compile(r"[{,]\s*format: (?P<format>[a-z-]+)")
_DESCRIBED_UNIQUE = re.compile(r"\buniqueItems\b[\"'`]?\s*[:=]?\s*true", re.IGNORECASE)


def constraints_of(node: JsonObject, original: JsonObject | None) -> JsonObject:
    """Keyword -> value; the original schema's word counts over the node's, the node's over its description's."""
    found = _described(node.get("description"))
    for source in (node, original or {}):
        found.update({keyword: source[keyword] for keyword in _KEYWORDS if keyword in source})
    return found


def number_at(constraints: JsonObject, keyword: str) -> float | None:
    """The number under `keyword`, when there is one."""
    value = constraints.get(keyword)
    return value if is_number(value) and isinstance(value, int | float) else None


def count_at(constraints: JsonObject, keyword: str) -> int | None:
    """The whole number under `keyword`, when there is one."""
    value = number_at(constraints, keyword)
    return None if value is None else int(value)


def _described(description: Json) -> JsonObject:
    found: JsonObject = {}
    if not isinstance(description, str):
        return found
    for keyword, number in _DESCRIBED.findall(description):
        found[keyword] = json.loads(number) if not number.lstrip("-").startswith("0") else float(number)
    if pattern := _DESCRIBED_PATTERN.search(description):
        found["pattern"] = pattern["pattern"]
    if text_format := _DESCRIBED_FORMAT.search(description):
        found["format"] = text_format["format"]
    if _DESCRIBED_UNIQUE.search(description):
        found["uniqueItems"] = True
    return found
