"""Smallest answers: how short the shortest answer is that a schema allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline.domain.variants import followed

# Deeper than this a schema refers to itself.
_MOST_LEVELS = 12
# Tokenizers have few tokens that are longer than this (o200k's common words are shorter), so no text takes fewer tokens.
_MOST_CHARS_PER_TOKEN = 8


def smallest_answer_tokens(schema: Mapping[str, object]) -> int:
    """Tokens below which no valid answer is, whatever the tokenizer. A lower bound: what is not understood counts as nothing."""
    return _chars(schema, schema, 0) // _MOST_CHARS_PER_TOKEN


def _chars(node: object, root: Mapping[str, object], depth: int) -> int:
    if not isinstance(node, Mapping) or depth > _MOST_LEVELS:
        return 0
    schema = followed(node, root)
    if "const" in schema:
        return len(ordered_json(schema["const"]))
    enum = schema.get("enum")
    if isinstance(enum, list) and enum:
        return min(len(ordered_json(choice)) for choice in enum)
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and options:
            return min(_chars(option, root, depth + 1) for option in options)
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) and len(kinds) == 1 else kinds
    if kind == "string":
        return 2 + _count(schema, "minLength")
    if kind == "array":
        return 2 + _count(schema, "minItems") * (1 + _chars(schema.get("items"), root, depth + 1))
    properties = schema.get("properties")
    if kind in (None, "object") and isinstance(properties, Mapping):
        required = [name for name in cast("Sequence[str]", schema.get("required", [])) if name in properties]
        # An alias takes one character, its quotes and colon three.
        return 2 + sum(4 + _chars(properties[name], root, depth + 1) for name in required)
    return 0


def _count(schema: Mapping[str, object], keyword: str) -> int:
    found = schema.get(keyword)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0
