"""Google's JSON: every field goes by two names, and those nobody knows are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject

_SNAKE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
# Their content is the caller's own JSON, whose names mean what they say.
_OPAQUE = frozenset(
    {"responseSchema", "responseJsonSchema", "parameters", "parametersJsonSchema", "args", "response", "labels"}
)


def read_fields(body: bytes) -> JsonObject:
    """The body with every name in camelCase. Raises GoogleRefused."""
    try:
        value: Json = json.loads(body or b"{}")
    except ValueError as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    if not isinstance(value, dict):
        raise errors.invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    fields = _camel(value)
    return fields if isinstance(fields, dict) else {}


def known_fields(value: JsonObject, known: Collection[str], where: str) -> None:
    """Raises GoogleRefused when `value` has a field outside `known`."""
    for name in value:
        if name not in known:
            raise errors.unknown_field(name, where)


def _camel(value: Json) -> Json:
    if isinstance(value, list):
        return [_camel(child) for child in value]
    if not isinstance(value, dict):
        return value
    renamed: JsonObject = {}
    for key, child in value.items():
        name = _camel_name(key)
        renamed[name] = child if name in _OPAQUE else _camel(child)
    return renamed


def _camel_name(name: str) -> str:
    if not _SNAKE.fullmatch(name):
        return name
    first, *rest = name.split("_")
    return first + "".join(word[0].upper() + word[1:] for word in rest)
