"""Checks: rules between the fields of one answer that a schema declares, and how an answer is held against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tokenopt_pipeline.domain.errors import SchemaInvalid
from tokenopt_pipeline.domain.grounding import dates_in

#: What a check may demand the answer to account for.
COVERABLE = ("numbers", "quotes")
#: Strings that models write where they have nothing to say.
PLACEHOLDERS = frozenset(
    (
        "n/a",
        "na",
        "none",
        "null",
        "nil",
        "unknown",
        "not specified",
        "not stated",
        "not provided",
        "tbd",
        "-",
        "--",
        "?",
    )
)
_STATES = ("present", "empty")
_COMPARISONS = ("above", "at_least", "below", "at_most")
_OPERATORS = ("is", "equals", "in", *_COMPARISONS, "sum_of")
_CHECK_MEMBERS = frozenset({"id", "if", "then", "covers", "because"})
_GROUPS = ("all", "any", "not")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement about an answer. Exactly one of `parts` (with a group operator) and `field` is meaningful."""

    #: `all`, `any`, `not`, or one of the field operators.
    operator: str
    parts: tuple[Condition, ...] = ()
    #: Dotted path; a step into an array means each of its entries.
    field: str = ""
    #: A JSON scalar or list of them; for another field its path under key `field`.
    operand: object = None
    #: How far a sum may be off.
    within: float = 0.0

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether the answer meets the condition. A comparison with an empty field holds: there is nothing to compare."""
        if self.operator == "all":
            return all(part.holds(values) for part in self.parts)
        if self.operator == "any":
            return any(part.holds(values) for part in self.parts)
        if self.operator == "not":
            return not self.parts[0].holds(values)
        found = [value for value in values_at(values, self.field) if not is_empty(value)]
        if self.operator == "is":
            return bool(found) == (self.operand == "present")
        operand = self.operand
        if isinstance(operand, Mapping):
            others = [value for value in values_at(values, str(operand["field"])) if not is_empty(value)]
            # Entry by entry where both are in the same array, all with the one otherwise.
            pairs = (
                list(zip(found, others, strict=False)) if len(others) > 1 else [(f, o) for f in found for o in others]
            )
        else:
            pairs = [(value, operand) for value in found]
        if self.operator == "sum_of":
            return self._adds_up(values, found)
        return all(_compares(self.operator, value, other) for value, other in pairs)

    def _adds_up(self, values: Mapping[str, object], found: Sequence[object]) -> bool:
        paths = (
            self.operand if isinstance(self.operand, Sequence) and not isinstance(self.operand, str) else [self.operand]
        )
        addends = [number_of(value) for path in paths for value in values_at(values, str(path))]
        summands = [number for number in addends if number is not None]
        totals = [number for number in map(number_of, found) if number is not None]
        total = sum(summands)
        return not summands or all(abs(number - total) <= self.within + 1e-9 * abs(total) for number in totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A rule of a schema: where `when` holds, `then` must hold; or what the answer must account for."""

    id: str
    when: Condition | None = None
    then: Condition | None = None
    #: `numbers`, `quotes`.
    covers: tuple[str, ...] = ()
    #: The rule in a person's words; empty when the schema gives none.
    because: str = ""

    def is_broken_by(self, values: Mapping[str, object]) -> bool:
        """Whether the answer breaks the rule."""
        if self.then is None or (self.when is not None and not self.when.holds(values)):
            return False
        return not self.then.holds(values)


def is_empty(value: object) -> bool:
    """Whether a value says nothing: null, an empty container, blank text, or a word that stands for nothing."""
    if isinstance(value, str):
        return value.strip().casefold().strip("<>[]().") in PLACEHOLDERS or not value.strip()
    return value is None or value in ([], {})


def is_number(value: object) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_of(value: object) -> float | None:
    """A JSON number as a float, infinity where it is larger than any; None for everything else."""
    if not is_number(value):
        return None
    try:
        return float(cast("float", value))
    except OverflowError:
        return math.inf


def values_at(values: object, path: str) -> Iterator[object]:
    """Every value under a dotted path, in order; a step into an array takes each of its entries."""
    step, _, rest = path.partition(".")
    for node in values if isinstance(values, list | tuple) else (values,):
        if isinstance(node, Mapping) and step in node:
            below = node[step]
            if rest:
                yield from values_at(below, rest)
            elif isinstance(below, list | tuple):
                yield from below
            else:
                yield below


def _compares(operator: str, value: object, other: object) -> bool:
    if operator == "in":
        return value in cast("Sequence[object]", other)
    if operator == "equals":
        return _plain(value) == _plain(other)
    for read in (number_of, _day):
        left, right = read(value), read(other)
        if left is not None and right is not None:
            order = (left > right) - (left < right)
            return {"above": order > 0, "at_least": order >= 0, "below": order < 0, "at_most": order <= 0}[operator]
    # What is no number and no date has no order to break.
    return True


def _plain(value: object) -> object:
    for read in (number_of, _day):
        found = read(value)
        if found is not None:
            return found
    return value


def _day(value: object) -> float | None:
    """A date as a number that grows from day to day."""
    days = dates_in(value) if isinstance(value, str) else []
    return float(days[0].replace("-", "")) if days else None


def parse_checks(declared: object, *, name: str, fields: frozenset[str]) -> tuple[Check, ...]:
    """The checks of a schema. `fields` are the names of its top-level properties.

    Raises SchemaInvalid naming the check, what was found and what is allowed.
    """
    if declared is None:
        return ()
    if not isinstance(declared, list):
        raise SchemaInvalid(f"schema {name}: checks must be a list, found {type(declared).__name__}")
    checks = tuple(_check(entry, f"schema {name}: checks[{i}]", fields) for i, entry in enumerate(declared))
    ids = [check.id for check in checks]
    if repeated := next((i for i in ids if ids.count(i) > 1), None):
        raise SchemaInvalid(f"schema {name}: checks: every check needs an id of its own, {repeated!r} stands twice")
    return checks


def _check(entry: object, where: str, fields: frozenset[str]) -> Check:
    if not isinstance(entry, Mapping):
        raise SchemaInvalid(f"{where} must be an object")
    if unknown := sorted(set(entry) - _CHECK_MEMBERS):
        raise SchemaInvalid(f"{where}: unknown member {unknown[0]!r}; known: {', '.join(sorted(_CHECK_MEMBERS))}")
    check_id, because = entry.get("id"), entry.get("because", "")
    if not isinstance(check_id, str) or not check_id:
        raise SchemaInvalid(f"{where}.id must be a name")
    if not isinstance(because, str):
        raise SchemaInvalid(f"{where}.because must be a sentence")
    if ("then" in entry) == ("covers" in entry):
        raise SchemaInvalid(f"{where} needs exactly one of then, covers")
    covers = entry.get("covers", [])
    if not isinstance(covers, list) or any(c not in COVERABLE for c in covers) or ("covers" in entry and not covers):
        raise SchemaInvalid(f"{where}.covers = {covers!r}, allowed a list of {', '.join(COVERABLE)}")
    if "if" in entry and "covers" in entry:
        raise SchemaInvalid(f"{where}: covers cannot stand under an if")
    return Check(
        id=check_id,
        when=_condition(entry["if"], f"{where}.if", fields) if "if" in entry else None,
        then=_condition(entry["then"], f"{where}.then", fields) if "then" in entry else None,
        covers=tuple(covers),
        because=because,
    )


def _condition(entry: object, where: str, fields: frozenset[str]) -> Condition:
    if not isinstance(entry, Mapping):
        raise SchemaInvalid(f"{where} must be an object")
    group = next((g for g in _GROUPS if g in entry), None)
    if group is not None:
        if len(entry) > 1:
            raise SchemaInvalid(f"{where}: {group} stands alone")
        listed = [entry[group]] if group == "not" else entry[group]
        if not isinstance(listed, list) or not listed:
            raise SchemaInvalid(f"{where}.{group} must be a non-empty list of conditions")
        return Condition(
            operator=group, parts=tuple(_condition(p, f"{where}.{group}[{i}]", fields) for i, p in enumerate(listed))
        )
    field = _field(entry.get("field"), f"{where}.field", fields)
    operators = [o for o in _OPERATORS if o in entry]
    if len(operators) != 1 or set(entry) - {"field", "within", *operators}:
        raise SchemaInvalid(f"{where} needs a field and exactly one of {', '.join(_OPERATORS)}")
    operator, within = operators[0], entry.get("within", 0)
    if "within" in entry and (operator != "sum_of" or not is_number(within) or within < 0):
        raise SchemaInvalid(f"{where}.within belongs to sum_of and is a number from 0, found {within!r}")
    operand = _operand(operator, entry[operator], f"{where}.{operator}", fields)
    return Condition(operator=operator, field=field, operand=operand, within=float(within))


def _operand(operator: str, operand: object, where: str, fields: frozenset[str]) -> object:
    if operator == "is":
        if operand not in _STATES:
            raise SchemaInvalid(f"{where} = {operand!r}, allowed {', '.join(_STATES)}")
    elif operator == "sum_of":
        paths = operand if isinstance(operand, list) and operand else [operand]
        for path in paths:
            _field(path, where, fields)
    elif isinstance(operand, Mapping):
        if set(operand) != {"field"}:
            raise SchemaInvalid(f"{where} must be a value or an object with the member field")
        _field(operand["field"], where, fields)
    elif operator == "in":
        if not isinstance(operand, list) or not operand:
            raise SchemaInvalid(f"{where} must be a non-empty list of values")
    elif operator in _COMPARISONS and not (is_number(operand) or (isinstance(operand, str) and dates_in(operand))):
        raise SchemaInvalid(f"{where} = {operand!r}, allowed a number, a date or another field")
    return operand


def _field(path: object, where: str, fields: frozenset[str]) -> str:
    if not isinstance(path, str) or path.partition(".")[0] not in fields:
        raise SchemaInvalid(f"{where} = {path!r} is not among the schema's properties: {', '.join(sorted(fields))}")
    return path
