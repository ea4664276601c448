"""Doubts about single values: numbers, dates, choices and texts that the block does not state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenopt_pipeline.domain.answer_tree import Node, shown
from tokenopt_pipeline.domain.checks import number_of
from tokenopt_pipeline.domain.doubts import Doubt
from tokenopt_pipeline.domain.grounding import TextEvidence, dates_in

# A shorter value cannot be told from a word of the block.
_LONG_CHARS = 40
_PERCENT_WORDS = re.compile(r"%|percent|per cent|pct|basis points", re.IGNORECASE)


def is_default(leaf: Node) -> bool:
    """Whether the value is what the schema itself says for a field that the block leaves open."""
    if "default" in leaf.schema:
        return leaf.schema["default"] == leaf.value
    described = str(leaf.schema.get("description", "")).casefold()
    _, stated, after = described.partition("default")
    return bool(stated) and bool(re.search(rf"(?<!\w){re.escape(str(leaf.value).casefold())}(?!\w)", after))


def value_doubts(leaf: Node, text: TextEvidence, text_chars: int) -> Iterator[Doubt]:
    """Every doubt about a value that says something and is not its field's default. `text_chars` is the block's length."""
    value, name = leaf.value, leaf.named
    if isinstance(value, bool) or "const" in leaf.schema:
        return
    number = number_of(value)
    if number is not None:
        if not text.has_number(number):
            yield Doubt(
                id="number_not_in_text",
                path=leaf.path,
                evidence=f"The block states no {number:g}, the value of {name}.",
            )
        elif _repeats_percentage(leaf, number, text):
            sentence = (
                f"The block states {number:g} %, and {name} repeats {number:g} without being a field of percents."
            )
            yield Doubt(id="percent_scale", path=leaf.path, evidence=sentence)
        return
    stated = str(value)
    if "enum" in leaf.schema:
        if text.share_of(stated) == 0:
            sentence = f"No word of {shown(stated)}, chosen for {name}, stands in the block."
            yield Doubt(id="choice_not_in_text", path=leaf.path, evidence=sentence)
        return
    if _is_date_field(leaf, stated):
        if text.has_date(stated) is False:
            sentence = f"The block states no date that {shown(stated)}, the value of {name}, could be."
            yield Doubt(id="date_not_in_text", path=leaf.path, evidence=sentence)
        return
    if len(stated) > max(text_chars, _LONG_CHARS):
        sentence = f"The value of {name} has {len(stated)} characters, the block {text_chars}."
        yield Doubt(id="longer_than_text", path=leaf.path, evidence=sentence)
    share = text.share_of(stated)
    if share == 0:
        sentence = f"No word of {shown(stated)}, the value of {name}, stands in the block."
        yield Doubt(id="text_not_in_text", path=leaf.path, evidence=sentence)
    elif share < 1:
        sentence = f"{share:.0%} of the words of {shown(stated)}, the value of {name}, stand in the block."
        yield Doubt(id="text_partly_in_text", path=leaf.path, evidence=sentence)


def _repeats_percentage(leaf: Node, number: float, text: TextEvidence) -> bool:
    kinds = leaf.schema.get("type")
    # A field of whole numbers has no room for 0.05.
    if kinds == "integer" or number < 1 or not text.has_percentage(number):
        return False
    return not _PERCENT_WORDS.search(
        f"{leaf.named} {leaf.schema.get('title', '')} {leaf.schema.get('description', '')}"
    )


def _is_date_field(leaf: Node, stated: str) -> bool:
    return leaf.schema.get("format") in ("date", "date-time") or (len(stated) <= _LONG_CHARS and bool(dates_in(stated)))
