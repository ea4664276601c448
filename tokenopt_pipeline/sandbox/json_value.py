"""The type of anything JSON can say, and the readings of it the sandbox needs everywhere."""

from __future__ import annotations

import json
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"


def as_object(value: Json) -> JsonObject:
    """`value` when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Json) -> list[Json]:
    """`value` when it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def is_number(value: Json) -> bool:
    """Whether `value` is a JSON number; Python's bool is an int, JSON's is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def compact(value: Json) -> str:
    """The shortest JSON text of `value`, keys in their given order: order is part of a prompt's bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def strings_in(value: Json) -> str:
    """Every text inside `value`, one after the other; `type` members are labels, not text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(strings_in(child) for child in value)
    if isinstance(value, dict):
        return "".join(strings_in(child) for key, child in value.items() if key != "type")
    return "" if value is None else str(value)
