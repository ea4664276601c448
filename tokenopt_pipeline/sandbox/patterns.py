"""A string that a regular expression matches, for the subset of expressions extraction schemas use."""

from __future__ import annotations

import importlib
import re
import string
from typing import Any

from tokenopt_pipeline.sandbox.choice import Choice

# The standard library's own parser of its own dialect; private in name since 3.11, without a public successor.
_PARSER: Any = importlib.import_module("re._parser")
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
    "CATEGORY_WORD": string.ascii_letters + string.digits,
    "CATEGORY_NOT_WORD": " -.,",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": string.ascii_letters + string.digits,
}
_PRINTABLE = string.ascii_letters + string.digits + " -_.,:/"
_LONGEST_REPEAT = 4


def matching(pattern: str, words: list[str], choice: Choice) -> str | None:
    """A word of `words` that matches `pattern`, else a made-up string that does, else None."""
    try:
        expression = re.compile(pattern)
    except re.error:
        return None
    fitting = [word for word in words if expression.search(word)]
    if fitting:
        return choice.one_of(fitting, "word")
    for attempt in range(4):
        made = _Maker(choice.at(f"pattern{attempt}")).make(_PARSER.parse(pattern))
        if made is not None and expression.search(made):
            return made
    return None


class _Maker:
    """Walks a parsed expression and writes one string it allows."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._groups: dict[int, str] = {}
        self._steps = 0

    def make(self, parsed: Any) -> str | None:
        """The string; None when the expression uses what is not understood here."""
        parts = []
        for operation, argument in parsed:
            part = self._part(str(operation), argument)
            if part is None:
                return None
            parts.append(part)
        return "".join(parts)

    def _part(self, operation: str, argument: Any) -> str | None:
        self._steps += 1
        here = self._choice.at(str(self._steps))
        match operation:
            case "LITERAL":
                return chr(argument)
            case "NOT_LITERAL":
                return here.one_of([char for char in _PRINTABLE if ord(char) != argument], "char")
            case "ANY":
                return here.one_of(_PRINTABLE, "char")
            case "AT" | "ASSERT_NOT":
                return ""
            case "IN":
                return self._member(argument, here)
            case "BRANCH":
                return self.make(here.one_of(argument[1], "branch"))
            case "SUBPATTERN":
                made = self.make(argument[3])
                if made is not None and argument[0] is not None:
                    self._groups[argument[0]] = made
                return made
            case "GROUPREF":
                return self._groups.get(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, repeated = argument
                count = least + here.below(max(1, min(int(most) - least, _LONGEST_REPEAT) + 1), "count")
                made_parts = [self.make(repeated) for _ in range(count)]
                return None if None in made_parts else "".join(part for part in made_parts if part is not None)
            case _:
                return None

    @staticmethod
    def _member(members: Any, here: Choice) -> str | None:
        allowed: set[str] = set()
        negated = False
        for operation, argument in members:
            match str(operation):
                case "NEGATE":
                    negated = True
                case "LITERAL":
                    allowed.add(chr(argument))
                case "RANGE":
                    allowed.update(chr(code) for code in range(argument[0], min(argument[1], argument[0] + 255) + 1))
                case "CATEGORY":
                    allowed.update(_CATEGORIES.get(str(argument), ""))
        options = sorted(set(_PRINTABLE) - allowed) if negated else sorted(allowed)
        return here.one_of(options, "char") if options else None
