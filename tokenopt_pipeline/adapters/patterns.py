"""Regular expressions that other people wrote, searched for with a bound on the time they may take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from tokenopt_pipeline.domain.triggers import Span

if TYPE_CHECKING:
    import regex

#: Per search of one text. A pattern that needs longer is not waited for.
TIMEOUT_S = 0.05
#: Longer texts are not searched to their end: what a rule is about stands in a block, not in a book.
_MOST_CHARS = 20_000
# Repeated, these are the texts on which ambiguous patterns take exponential time.
_HOSTILE = ("a", "A", "0", " ", "a ", "A. ", "-", ".", "\n", "aA0 ", "'", "(", "/")
_HOSTILE_CHARS = 400


@lru_cache(maxsize=20_000)
def _compiled(pattern: str, ignore_case: bool) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern, regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0))


def find(pattern: str, ignore_case: bool, text: str) -> Iterator[Span]:
    """`domain.triggers.Find`: the matches in order, each looked for when it is asked for, at most `TIMEOUT_S` long."""
    compiled = _compiled(pattern, ignore_case)
    at, end = 0, min(len(text), _MOST_CHARS)
    while at <= end and (match := compiled.search(text, at, end, timeout=TIMEOUT_S)):
        yield match.span()
        # An empty match would be found again at its own place.
        at = match.end() + (match.end() == match.start())


def trouble_with(pattern: str, ignore_case: bool) -> str | None:
    """Why a pattern cannot be used, in half a sentence; None when it compiles and is fast on hostile texts."""
    import regex

    try:
        _compiled(pattern, ignore_case)
    except regex.error as problem:
        return f"it is no regular expression: {problem}"
    for text in _hostile_texts(pattern):
        try:
            next(find(pattern, ignore_case, text), None)
        except TimeoutError:
            return f"it takes more than {TIMEOUT_S * 1000:.0f} ms on {len(text):,} characters of {text[:4]!r}"
    return None


def _hostile_texts(pattern: str) -> Iterator[str]:
    own = "".join(dict.fromkeys(letter for letter in pattern if letter.isalnum()))[:12]
    for seed in dict.fromkeys((*_HOSTILE, *own, *([own] if own else []))):
        # The exclamation mark makes a match fail after everything before it was tried; the pattern's own letters follow,
        # so that no search ends at once for want of one.
        yield (seed * _HOSTILE_CHARS)[:_HOSTILE_CHARS] + "!" + own
