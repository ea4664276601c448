"""Numbers for a field: one the block's text mentions where it fits, else one within the field's bounds."""

from __future__ import annotations

import json
import math
import re

from tokenopt_pipeline.sandbox.choice import Choice
from tokenopt_pipeline.sandbox.constraints import number_at
from tokenopt_pipeline.sandbox.json_value import JsonObject

_NUMBER = re.compile(r"(?<![\w.])-?(?:0|[1-9]\d{0,11})(?:\.\d{1,6})?(?![\w.])")
_SPAN = 100
_SEARCHED_CHARS = 4000


def compose_integer(text: str, constraints: JsonObject, choice: Choice) -> int:
    """A whole number about `text` for the field at `choice.path`."""
    mentioned = [int(number) for number in _mentioned(text, constraints) if number == int(number)]
    if mentioned:
        return choice.one_of(mentioned, "mentioned")
    step = max(1, math.ceil(number_at(constraints, "multipleOf") or 1))
    low, high = _bounds(constraints)
    first = math.floor(low) + 1 if low == number_at(constraints, "exclusiveMinimum") else math.ceil(low)
    last = math.ceil(high) - 1 if high == number_at(constraints, "exclusiveMaximum") else math.floor(high)
    first_multiple, last_multiple = math.ceil(first / step), math.floor(last / step)
    return step * (first_multiple + choice.below(max(1, last_multiple - first_multiple + 1), "value"))


def compose_number(text: str, constraints: JsonObject, choice: Choice) -> float:
    """A number about `text` for the field at `choice.path`."""
    mentioned = _mentioned(text, constraints)
    if mentioned:
        return choice.one_of(mentioned, "mentioned")
    if number_at(constraints, "multipleOf"):
        return _multiple(constraints, choice)
    low, high = _bounds(constraints)
    value = low + (high - low) * choice.share("value")
    rounded = round(value, 2)
    return rounded if _allowed(rounded, constraints) else value


def _multiple(constraints: JsonObject, choice: Choice) -> float:
    step = number_at(constraints, "multipleOf") or 1
    low, high = _bounds(constraints)
    first, last = math.ceil(low / step), math.floor(high / step)
    multiple = first + choice.below(max(1, last - first + 1), "value")
    return multiple * step


def _bounds(constraints: JsonObject) -> tuple[float, float]:
    lows = [bound for key in ("minimum", "exclusiveMinimum") if (bound := number_at(constraints, key)) is not None]
    highs = [bound for key in ("maximum", "exclusiveMaximum") if (bound := number_at(constraints, key)) is not None]
    if lows and highs:
        return max(lows), min(highs)
    if lows:
        return max(lows), max(lows) + _SPAN
    return (min(highs) - _SPAN, min(highs)) if highs else (0, _SPAN)


def _mentioned(text: str, constraints: JsonObject) -> list[float]:
    found: list[float] = [json.loads(number) for number in _NUMBER.findall(text[:_SEARCHED_CHARS])]
    return [number for number in found if _allowed(number, constraints)]


def _allowed(number: float, constraints: JsonObject) -> bool:
    low, high = number_at(constraints, "minimum"), number_at(constraints, "maximum")
    above, below = number_at(constraints, "exclusiveMinimum"), number_at(constraints, "exclusiveMaximum")
    step = number_at(constraints, "multipleOf")
    return (
        (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
        and (below is None or number < below)
        and (not step or number % step == 0)
    )
