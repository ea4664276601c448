"""Canonical bytes of a value, and hashes of them: the one way this product says that two things are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Keywords of JSON Schema whose members are names, and keywords whose values are no schemas.
NAMED_PARTS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
PLAIN_PARTS = frozenset({"enum", "const", "default", "examples", "required"})


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no escaping of letters: equal values give equal text.

    Raises ValueError for NaN and infinities, which JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 over the canonical JSON, 64 hex digits."""
    return digest_text(canonical_json(value))


def digest_text(text: str) -> str:
    """SHA-256 over the text's UTF-8 bytes, 64 hex digits. Lone surrogates hash as their escapes."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def canonical_schema(schema: Mapping[str, object]) -> dict[str, Any]:
    """A JSON Schema with its keywords sorted and its properties in their own order, at any depth.

    Models answer in the order of the properties, so that order is part of what is asked; the order of keywords is not.
    """
    ordered: dict[str, Any] = {}
    for keyword in sorted(schema):
        value = schema[keyword]
        if keyword in NAMED_PARTS and isinstance(value, Mapping):
            ordered[keyword] = {name: _canonical_part(part) for name, part in value.items()}
        elif keyword in PLAIN_PARTS:
            ordered[keyword] = value
        else:
            ordered[keyword] = _canonical_part(value)
    return ordered


def _canonical_part(part: object) -> object:
    if isinstance(part, Mapping):
        return canonical_schema(part)
    if isinstance(part, list):
        return [_canonical_part(child) for child in part]
    return part


def ordered_json(value: object) -> str:
    """Compact JSON that keeps the order of members."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
