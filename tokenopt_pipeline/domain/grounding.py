"""Grounding: what a block's text states, so that a value can be looked for in it: numbers, dates, words, quotes."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

_NUMBER = re.compile(r"(?<![\d.,])[-−]?(?:\d+(?:[.,'’\u00a0\u202f]\d+)*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)?")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_QUOTED = re.compile(r"(?<!\w)(?:'([^'\n]{2,80})'|\"([^\"\n]{2,80})\"|“([^”\n]{2,80})”|`([^`\n]{2,80})`)(?!\w)")
_MULTIPLIER = re.compile(r"\s*-?\s*(k|thousand|m|mn|million|bn|b|billion|trillion|hundred|dozen)\b", re.IGNORECASE)
_TEN_TO_THE = re.compile(r"\s*[x×*·]\s*10\s*\^?\s*([-−]?\d{1,2})\b")
_PERCENT = re.compile(r"\s*-?\s*(?:%|percent\b|per cent\b)", re.IGNORECASE)
_MULTIPLIERS: Final = {
    **dict.fromkeys(("k", "thousand"), 1e3),
    **dict.fromkeys(("m", "mn", "million"), 1e6),
    **dict.fromkeys(("bn", "b", "billion"), 1e9),
    "trillion": 1e12,
    "hundred": 1e2,
    "dozen": 12.0,
}
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += "seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_SMALL_WORDS: Final = {
    **{word: float(n) for n, word in enumerate(_ONES)},
    **{word: 20.0 + 10 * n for n, word in enumerate(_TENS)},
    **{word: 1.0 + n for n, word in enumerate(_ORDINALS)},
    "a": 1.0,
    "an": 1.0,
    "once": 1.0,
    "single": 1.0,
    "twice": 2.0,
    "pair": 2.0,
    "couple": 2.0,
    "both": 2.0,
    "half": 0.5,
    "quarter": 0.25,
}
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_ISO = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_NUMERIC_DATE = re.compile(r"(?<!\d)(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?!\d)")
_DAY_MONTH = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:day\s+)?(?:of\s+)?{_MONTH},?(?:\s+(\d{{4}}))?\b", re.I
)
_MONTH_DAY = re.compile(rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.I)
_NO_YEAR = "0000"
#: Words that say nothing about a subject.
STOP_WORDS: Final = frozenset(
    "a about all also an and any are as at be by can could do does each etc for from get give given has have how i if in "
    "into is it its me more my name no not number of on one optional or our out provided return returns some specified such "
    "that the their them there these they this to two type use used using value values was we were what when where which "
    "who whose will with you your default".split()
)
# The longest first.
_SUFFIXES: Final = tuple(
    "ations ation ating ated ates sions sion ions ion ings ing ies ied ers er ed es s ly e y".split()
)
#: Codes that answers use for words of the text.
_ALIASES: Final = {
    "usd": "dollar",
    "eur": "euro",
    "gbp": "pound",
    "jpy": "yen",
    "cny": "yuan",
    "inr": "rupee",
    "chf": "franc",
    "km": "kilomet",
    "cm": "centimet",
    "mm": "millimet",
    "kg": "kilogram",
    "lb": "pound",
    "ft": "feet",
    "mph": "mile",
}
_SIGNS: Final = str.maketrans({"$": " dollar ", "€": " euro ", "£": " pound ", "¥": " yen ", "%": " percent "})
# A word of the text may go on from a value's (prob, probability), a value's word not far beyond the text's (Europe,
# European): what a model invents often begins like something that is there.
_SHORTEST_SHARED, _TEXT_GOES_ON, _VALUE_GOES_ON = 4, 8, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEvidence:
    """All that a text states, read once; see `read_text`."""

    #: Case folded, white space squeezed, typographic quotes straightened.
    folded: str
    #: Every reading of every number, thousandfold and percent readings included; 12 significant digits.
    numbers: frozenset[float]
    #: The numbers that the text states as percentages, as written: 5 for `5%`.
    percentages: frozenset[float]
    #: As `dates_in` writes them.
    dates: frozenset[str]
    #: Stems of all words, sorted.
    stems: tuple[str, ...]

    def has_number(self, value: float) -> bool:
        """Whether the text states the number, in figures or words, whatever its sign."""
        return _rounded(abs(value)) in self.numbers

    def has_percentage(self, value: float) -> bool:
        """Whether the text states the number as a percentage."""
        return _rounded(abs(value)) in self.percentages

    def has_date(self, value: str) -> bool | None:
        """Whether the text states the date in `value`; None when `value` holds no date."""
        wanted = dates_in(value)
        return any(_same_day(d, stated) for d in wanted for stated in self.dates) if wanted else None

    def has_word(self, stem: str) -> bool:
        """Whether a word of the text has this stem, or one that differs from it by an ending, or that it is short for."""
        if self._begins(stem, longest=_TEXT_GOES_ON) or self._begins(_ALIASES.get(stem, stem), longest=_TEXT_GOES_ON):
            return True
        shortest = max(_SHORTEST_SHARED, len(stem) - _VALUE_GOES_ON)
        return any(self._begins(stem[:n], longest=0) for n in range(shortest, len(stem)))

    def share_of(self, value: str) -> float:
        """Share of the value's words that the text holds, 0 to 1; 1 when the value stands there word for word."""
        if fold(value) in self.folded:
            return 1.0
        wanted = [_stem(word) for word in _words_of(value) if word not in STOP_WORDS] or stems_of(value)
        found = sum(self.has_number(float(s)) if _is_number(s) else self.has_word(s) for s in wanted)
        return found / len(wanted) if wanted else 1.0

    def _begins(self, stem: str, *, longest: int) -> bool:
        at = bisect_left(self.stems, stem)
        if at == len(self.stems):
            return False
        found = self.stems[at]
        if found == stem:
            return True
        return found.startswith(stem) and len(stem) >= _SHORTEST_SHARED and len(found) - len(stem) <= longest


def read_text(text: str) -> TextEvidence:
    """What the text states. Pure and linear in its length."""
    numbers, percentages = _numbers_in(text)
    return TextEvidence(
        folded=fold(text),
        numbers=frozenset(numbers),
        percentages=frozenset(percentages),
        dates=frozenset(dates_in(text)),
        stems=tuple(sorted(set(stems_of(text.translate(_SIGNS))))),
    )


def fold(text: str) -> str:
    """The text without what typesetting adds: case, runs of white space, typographic quotes and dashes."""
    straight = text.translate(_STRAIGHT)
    return " ".join(straight.casefold().split())


_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-"})


def stems_of(text: str) -> list[str]:
    """Stems of the text's words and its numbers, in order; `camelCase` and `snake_case` are two words each."""
    return [_stem(word) for word in _words_of(text)]


def subject_of(text: str) -> list[str]:
    """Stems of the words that say what the text is about, in order: no numbers, none of `STOP_WORDS`."""
    return [_stem(word) for word in _words_of(text) if word not in STOP_WORDS and not _is_number(word)]


def _words_of(text: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub(" ", text).casefold().replace("_", " "))


def quotes_in(text: str) -> list[str]:
    """What the text puts between quotation marks, in order; a text that is one quotation is read without its marks."""
    whole = text.strip()
    if len(whole) > 1 and whole[0] == whole[-1] and whole[0] in "\"'":
        whole = whole[1:-1]
    return [next(part for part in found if part) for found in _QUOTED.findall(whole)]


def figures_in(text: str) -> list[float]:
    """Numbers that stand in the text as figures of their own, in order, each with its likeliest reading.

    Dates, exponents and the figures of a name (`LC123`, `10d`) are none.
    """
    for pattern in (_ISO, _NUMERIC_DATE, _TEN_TO_THE):
        text = pattern.sub(" ", text)
    return [
        _readings(found.group())[0]
        for found in _NUMBER.finditer(text)
        if not _is_part_of_name(text[: found.start()][-1:], text[found.end() :][:1])
    ]


def _is_part_of_name(before: str, after: str) -> bool:
    return before.isalpha() or before in ("^", "_") or after.isalpha() or after == "_"


def dates_in(text: str) -> list[str]:
    """Dates in the text as `YYYY-MM-DD`, or `0000-MM-DD` when the year is not stated; ambiguous ones in both readings."""
    found: list[tuple[int, int, int]] = []
    for y, m, d in _ISO.findall(text):
        found.append((int(y), int(m), int(d)))
    for a, b, y in _NUMERIC_DATE.findall(text):
        year = int(y) + (2000 if len(y) == 2 else 0)
        found += [(year, int(a), int(b)), (year, int(b), int(a))]
    for d, month, y in _DAY_MONTH.findall(text):
        found.append((int(y or 0), _MONTHS.index(month.lower()) + 1, int(d)))
    for month, d, y in _MONTH_DAY.findall(text):
        found.append((int(y or 0), _MONTHS.index(month.lower()) + 1, int(d)))
    return [f"{y:04}-{m:02}-{d:02}" for y, m, d in found if 1 <= m <= 12 and 1 <= d <= 31]


def _numbers_in(text: str) -> tuple[set[float], set[float]]:
    numbers: set[float] = set()
    percentages: set[float] = set()
    for found in _NUMBER.finditer(text):
        readings = [abs(value) for value in _readings(found.group())]
        numbers.update(map(_rounded, readings))
        multiplier = _MULTIPLIER.match(text, found.end())
        if multiplier:
            factor = _MULTIPLIERS[multiplier.group(1).lower()]
            numbers.update(_rounded(value * factor) for value in readings)
        power = _TEN_TO_THE.match(text, found.end())
        if power:
            numbers.update(_rounded(value * 10.0 ** int(power.group(1).replace("−", "-"))) for value in readings)
        if _PERCENT.match(text, found.end()):
            percentages.update(map(_rounded, readings))
            numbers.update(_rounded(value / 100) for value in readings)
    words = _WORD.findall(text.casefold())
    for i, word in enumerate(words):
        numbers.update(_rounded(n) for n in _spelled_from(words, i) if word in _SMALL_WORDS)
    return numbers, percentages


def _spelled_from(words: list[str], start: int) -> list[float]:
    """Every number that the words spell from here on: `two hundred fifty` spells 2, 200 and 250."""
    total, current, spelled = 0.0, 0.0, []
    for word in words[start : start + 8]:
        if word in _SMALL_WORDS:
            current += _SMALL_WORDS[word]
        elif word in ("hundred", "dozen"):
            current *= _MULTIPLIERS[word]
        elif word in ("thousand", "million", "billion", "trillion"):
            total, current = total + current * _MULTIPLIERS[word], 0.0
        elif word != "and":
            break
        spelled.append(total + current)
    return spelled


def _readings(figures: str) -> list[float]:
    """What a run of digits and separators can mean, the likelier first: `1,234` is 1234 or 1.234."""
    plain = figures.replace("−", "-")
    mantissa, e, exponent = plain.lower().partition("e")
    separators = [c for c in mantissa if c in ".,'’\u00a0\u202f"]
    whole = re.sub(r"[.,'’\u00a0\u202f]", "", mantissa)
    if not separators:
        return [float(whole + e + exponent)]
    head, _, tail = mantissa.rpartition(separators[-1])
    fraction = re.sub(r"[.,'’\u00a0\u202f]", "", head) + "." + tail + e + exponent
    grouped = len(tail) == 3 and head not in ("", "-", "0", "-0")
    if len(separators) > 1 and len(set(separators)) == 1:
        return [float(whole + e + exponent)]
    if grouped and len(separators) == 1:
        both = [float(whole + e + exponent), float(fraction)]
        return both if separators[-1] != "." else both[::-1]
    return [float(fraction)]


def _same_day(one: str, other: str) -> bool:
    return one[5:] == other[5:] and (one[:4] == other[:4] or _NO_YEAR in (one[:4], other[:4]))


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def _is_number(word: str) -> bool:
    return word[0].isdecimal()


def _stem(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word
