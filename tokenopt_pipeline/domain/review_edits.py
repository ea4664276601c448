"""Corrections: the values a person gives for one block, read as the schema's fields are typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tokenopt_pipeline.domain.errors import InvalidInput


def corrected(
    answer: Mapping[str, Any] | None,
    settings: Sequence[str],
    *,
    fields: Sequence[str],
    is_valid: Callable[[str, object], bool],
) -> dict[str, Any]:
    """`answer` with each `field=value` of `settings` put in; None is an answer without any field.

    A value is JSON where its field takes it, otherwise the text as typed: `5` is a number for a number field and text for a
    text field, `null` empties a field that may be empty. `is_valid` says whether a field takes a value. Raises InvalidInput for
    a setting without `=` and for a field that the schema has not; whether the whole is valid is for the schema to say.
    """
    values = dict(answer or {})
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InvalidInput(f"{setting!r}: write field=value, for example {fields[0]}=…")
        if name not in fields:
            raise InvalidInput(f"the schema has no field {name!r}; it has {', '.join(fields)}")
        values[name] = _read(text, partial(is_valid, name))
    return values


def _read(text: str, is_valid: Callable[[object], bool]) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if is_valid(value) or not is_valid(text) else text
