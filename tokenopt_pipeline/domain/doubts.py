"""Doubts: deterministic signs that one block's answer may be wrong, each with an id and the evidence in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

#: Id -> what it says of an answer. Checks of a schema are `check:<id>`.
KINDS: Mapping[str, str] = {
    "unparsable": "the answer is not in the agreed form, so that it cannot be looked at any closer",
    "schema": "the answer breaks its schema: type, format, enum, a member missing or too many",
    "required_empty": "a required field says nothing",
    "number_not_in_text": "a number stands nowhere in the block, in figures or words",
    "date_not_in_text": "a date stands nowhere in the block",
    "choice_not_in_text": "no word of a chosen enum value stands in the block",
    "text_not_in_text": "no word of a text stands in the block",
    "text_partly_in_text": "some words of a text do not stand in the block",
    "longer_than_text": "a value is longer than the block it was taken from",
    "percent_scale": "the block states a percentage, the value repeats its figure, and the field does not say percent",
    "off_topic": "no word that names the chosen alternative stands in the block",
    "left_out": "the block speaks of an alternative that no entry of the array chooses",
    "repeated_entry": "two entries of an array are equal",
    "split_entry": "two entries of an array differ only in a list that one entry could hold whole",
    "nothing_found": "the answer holds no value at all",
    "something_found": "the answer holds a value; worth something where a task's blocks seldom state any",
    "not_covered": "the schema asks to account for the block's numbers or quotes, and one is in no value",
    "disagreement": "two models answered differently",
}
#: Doubts of form and of grounding that say that something is wrong rather than unusual. What each is worth is measured.
HARD = (
    "unparsable",
    "schema",
    "required_empty",
    "number_not_in_text",
    "date_not_in_text",
    "text_not_in_text",
    "longer_than_text",
    "percent_scale",
    "off_topic",
    "left_out",
    "repeated_entry",
    "split_entry",
    "not_covered",
    "disagreement",
)
#: Every check that a schema declares; single ones are named `check:<id>`.
ANY_CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One sign that an answer may be wrong."""

    #: A key of `KINDS`, or `check:<id>`.
    id: str
    #: JSON pointer to the value in doubt; empty for the whole answer.
    path: str
    #: What was found, in one sentence.
    evidence: str


def is_among(doubt: str, ids: Collection[str]) -> bool:
    """Whether a list of ids names the doubt; `check` names every check of a schema."""
    return doubt in ids or doubt.partition(":")[0] in ids
