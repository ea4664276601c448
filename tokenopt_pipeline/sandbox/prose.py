"""Strings taken from a block's own text: snippets, rewrites, formatted values, all within their length limits."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from tokenopt_pipeline.sandbox.choice import Choice
from tokenopt_pipeline.sandbox.constraints import count_at
from tokenopt_pipeline.sandbox.json_value import JsonObject
from tokenopt_pipeline.sandbox.patterns import matching

_WORD = re.compile(r"\S+")
_REWRITE_NAME = re.compile(r"revis|rewrit|rephras|correct|improv|suggest|simplif|replacement|edited", re.IGNORECASE)
_SUMMARY_NAME = re.compile(r"summar|abstract|overview|gist|tldr|synopsis", re.IGNORECASE)
_REASON_NAME = re.compile(r"reason|rational|explan|justif|comment|why", re.IGNORECASE)
_ISO_DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_FIRST_DAY = date(1990, 1, 1)
_DAYS = 13_000
_LONGEST_REWRITE_CHARS = 2000
_SUMMARY_WORDS = 24
_SEARCHED_WORDS = 400


def compose_string(text: str, constraints: JsonObject, choice: Choice) -> str:
    """A string about `text` for the field at `choice.path`."""
    text_format, pattern = constraints.get("format"), constraints.get("pattern")
    if isinstance(text_format, str):
        formatted = _formatted(text, text_format, choice)
        if formatted is not None:
            return formatted
    if isinstance(pattern, str):
        words = [word.strip(".,;:()\"'") for word in text.split()[:_SEARCHED_WORDS]]
        made = matching(pattern, [word for word in words if _fits(word, constraints)], choice)
        if made is not None:
            return made
    return _within(_prose(text, choice), text, constraints)


def snippet(text: str, choice: Choice) -> str:
    """Three to ten words of `text`, exactly as they stand there."""
    words = list(_WORD.finditer(text))
    if not words:
        return text
    first = choice.below(len(words), "first")
    last = min(len(words) - 1, first + 2 + choice.below(8, "length"))
    return text[words[first].start() : words[last].end()]


def _prose(text: str, choice: Choice) -> str:
    name = choice.path.rpartition(".")[2]
    words = text.split()
    if not words:
        return text
    if _REWRITE_NAME.search(name):
        rewritten = " ".join(words)[:_LONGEST_REWRITE_CHARS]
        return rewritten[:1].upper() + rewritten[1:].rstrip(".") + "."
    if _SUMMARY_NAME.search(name):
        return " ".join(words[:_SUMMARY_WORDS])
    if _REASON_NAME.search(name):
        return f'The text says "{snippet(text, choice)}".'
    return snippet(text, choice)


def _fits(text: str, constraints: JsonObject) -> bool:
    least, most = count_at(constraints, "minLength"), count_at(constraints, "maxLength")
    return bool(text) and len(text) >= (least or 0) and (most is None or len(text) <= most)


def _within(made: str, text: str, constraints: JsonObject) -> str:
    least, most = count_at(constraints, "minLength") or 0, count_at(constraints, "maxLength")
    if len(made) < least:
        made = text
        while len(made) < least:
            made = f"{made} {text or '-'}"
        made = made[: max(least, most or least)]
    if most is not None and len(made) > most:
        cut = made.rfind(" ", 0, most + 1)
        made = made[: cut if cut >= max(1, least) else most]
    return made


def _formatted(text: str, text_format: str, choice: Choice) -> str | None:
    match text_format:
        case "date":
            return _day(text, choice).isoformat()
        case "date-time":
            midnight = datetime.combine(_day(text, choice), datetime.min.time(), UTC)
            moment = midnight + timedelta(seconds=choice.below(86_400, "time"))
            return moment.isoformat().replace("+00:00", "Z")
        case "time":
            return f"{choice.below(24, 'hour'):02}:{choice.below(60, 'minute'):02}:{choice.below(60, 'second'):02}Z"
        case "duration":
            return f"P{1 + choice.below(30, 'days')}D"
        case "email":
            return f"{_label(text, choice)}@example.com"
        case "hostname":
            return f"{_label(text, choice)}.example.com"
        case "uri":
            return f"https://example.com/{_label(text, choice)}"
        case "ipv4":
            return f"192.0.2.{choice.below(256, 'host')}"
        case "ipv6":
            return f"2001:db8::{choice.below(65_536, 'host'):x}"
        case "uuid":
            digits = f"{choice.number('high'):016x}{choice.number('low'):016x}"
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
        case _:
            return None


def _day(text: str, choice: Choice) -> date:
    for year, month, day in _ISO_DATE.findall(text):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return _FIRST_DAY + timedelta(days=choice.below(_DAYS, "day"))


def _label(text: str, choice: Choice) -> str:
    words = [word for word in re.findall(r"[a-z0-9]+", text.lower()[:2000]) if len(word) <= 20]
    return choice.one_of(words, "label") if words else f"block{choice.below(1000, 'label')}"
