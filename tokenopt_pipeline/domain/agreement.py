"""How far two answers to one block agree, field by field, each compared as what its schema says it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from tokenopt_pipeline.domain.checks import is_empty, number_of

#: Relative; differences below it come from writing a number down and reading it again.
_SAME_NUMBER = 1e-9
_DAY_FIRST = re.compile(r"(\d{1,2})[./](\d{1,2})[./](\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Fields of two answers that were compared, and how many of them say the same."""

    fields: int = 0
    agreeing: int = 0
    #: JSON pointer of the first field that differs; None: none does.
    first_difference: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether every field says the same."""
        return self.agreeing == self.fields

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            fields=self.fields + other.fields,
            agreeing=self.agreeing + other.agreeing,
            first_difference=self.first_difference if self.first_difference is not None else other.first_difference,
        )


def agreement(one: Mapping[str, object], other: Mapping[str, object], schema: Mapping[str, object]) -> Agreement:
    """The fields of both answers compared. Objects are compared member by member; an array is one field.

    Nothing said is nothing said, however it is written (null, "", [], a missing member). Numbers compare by value, dates by
    day, arrays without regard to order, text without regard to case, width and white space.
    """
    total = Agreement()
    for path, left, right, fragment in _fields(one, other, schema, ""):
        same = _same(left, right, fragment)
        total += Agreement(fields=1, agreeing=int(same), first_difference=None if same else path)
    return total


def _fields(
    one: Mapping[str, object], other: Mapping[str, object], schema: Mapping[str, object], at: str
) -> Iterator[tuple[str, object, object, Mapping[str, object]]]:
    """(pointer, value, value, schema) of every member that either answer has or the schema declares."""
    properties = schema.get("properties")
    declared: Mapping[str, object] = properties if isinstance(properties, Mapping) else {}
    for name in dict.fromkeys([*declared, *one, *other]):
        left, right = one.get(name), other.get(name)
        fragment = _schema(declared.get(name))
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from _fields(left, right, fragment, f"{at}/{name}")
        else:
            yield f"{at}/{name}", left, right, fragment


def _same(left: object, right: object, schema: Mapping[str, object]) -> bool:
    if is_empty(left) or is_empty(right):
        return is_empty(left) and is_empty(right)
    if isinstance(left, bool) or isinstance(right, bool):
        # To Python, true is 1.
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return all(_same(a, b, fragment) for _, a, b, fragment in _fields(left, right, schema, ""))
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return _same_members(left, right, _schema(schema.get("items")))
    numbers = number_of(left), number_of(right)
    if numbers[0] is not None and numbers[1] is not None:
        return abs(numbers[0] - numbers[1]) <= _SAME_NUMBER * max(abs(numbers[0]), abs(numbers[1]))
    if not (isinstance(left, str) and isinstance(right, str)):
        return left == right
    if schema.get("format") == "date":
        return (_day(left) or _folded(left)) == (_day(right) or _folded(right))
    return _folded(left) == _folded(right)


def _same_members(left: Sequence[object], right: Sequence[object], items: Mapping[str, object]) -> bool:
    rest = list(right)
    for member in left:
        match = next((i for i, other in enumerate(rest) if _same(member, other, items)), None)
        if match is None:
            return False
        del rest[match]
    return not rest


def _schema(fragment: object) -> Mapping[str, object]:
    return fragment if isinstance(fragment, Mapping) else {}


def _day(text: str) -> date | None:
    """The day that a text states in ISO 8601, or day first as contracts and receipts write it."""
    stated = text.strip()
    if written := _DAY_FIRST.fullmatch(stated):
        stated = f"{written[3]}-{int(written[2]):02d}-{int(written[1]):02d}"
    try:
        return date.fromisoformat(stated[:10])
    except ValueError:
        return None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
