"""Reading a configuration from JSON so that a misspelt key is refused, never ignored."""

from __future__ import annotations

from collections.abc import Collection

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject


class ConfigRefused(ValueError):
    """A configuration that says something the sandbox does not understand."""


def object_of(value: Json, what: str) -> JsonObject:
    """`value` as an object. Raises ConfigRefused."""
    if not isinstance(value, dict):
        raise ConfigRefused(f"{what} must be a JSON object, found {type(value).__name__}")
    return value


def known_keys(value: JsonObject, known: Collection[str], what: str) -> None:
    """Raises ConfigRefused when `value` has a key outside `known`."""
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ConfigRefused(f"{what} has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")


def number_of(value: JsonObject, key: str, default: float) -> float:
    """The number under `key`. Raises ConfigRefused."""
    found = value.get(key, default)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise ConfigRefused(f"{key} must be a number, found {found!r}")
    return found
