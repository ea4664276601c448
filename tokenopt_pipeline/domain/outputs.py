"""Decoding: from one answer to exactly one finding per asked block, matched by ordinal and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tokenopt_pipeline.domain.codings import NotDecodable
from tokenopt_pipeline.domain.fingerprints import canonical_json, ordered_json
from tokenopt_pipeline.domain.prompts import RESULTS
from tokenopt_pipeline.domain.requests import StopReason

# How an answer begins. Anywhere else, the same characters may be a value's.
_OPENING = re.compile(rf'\s*\{{\s*"{RESULTS}"\s*:\s*\[')
# Far deeper than any answer means; a few hundred more and whoever reads or stores the values runs out of stack.
_MOST_LEVELS = 100


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        # Whichever value was taken, the other might have been meant.
        raise ValueError("a member stands twice in one object")
    return entry


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)


class Finding(StrEnum):
    """What an answer holds for one asked block. Everything but `VALID` is an error class of a failed block."""

    VALID = "valid"
    MISSING = "missing"  # the answer is complete and has no entry for the block
    DUPLICATE = "duplicate"  # two entries that differ: neither can be trusted
    INVALID = "invalid"  # an entry that breaks the schema
    TRUNCATED = "truncated"  # the answer ended before the block's entry did
    REFUSED = "refused"  # the model declined to answer
    UNPARSABLE = "unparsable"  # the answer is not the agreed JSON
    REJECTED = "rejected"  # the provider refuses the request itself
    TOO_LARGE = "too_large"  # the request does not fit into the model's context


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedOutput:
    """One block's part of an answer."""

    #: The block's ordinal in the request, from 1.
    ordinal: int
    finding: Finding
    #: Present exactly when the finding is VALID.
    values: Mapping[str, object] | None = None
    #: What is wrong, in one line; empty when nothing is.
    detail: str = ""
    #: Characters of its entry, without white space between them; 0 when it has none.
    said_chars: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAnswer:
    """Findings for the asked ordinals, in order, each exactly once, and what else was in the answer."""

    outputs: tuple[DecodedOutput, ...]
    #: Entries with an ordinal nobody asked for, or with none.
    strays: int


def decode_answer(
    text: str,
    *,
    stop: StopReason,
    asked: int,
    ordinal_key: str,
    violation: Callable[[Mapping[str, object]], str | None],
    decode: Callable[[Mapping[str, object]], Mapping[str, object]] = dict,
) -> DecodedAnswer:
    """Findings for ordinals 1..asked. `violation` says what is wrong with one entry's values, None when nothing is;
    `decode` gives the values that an entry means (`AnswerForm.decode`), or raises NotDecodable.

    Identical repeats of an entry count as one; repeats that differ spoil the block. Of a truncated answer, the complete
    entries count.
    """
    if stop is StopReason.REFUSED:
        return _all(asked, Finding.REFUSED, "the model refused to answer")
    try:
        entries = _entries(text, cut=stop is StopReason.TRUNCATED)
    except ValueError as problem:
        return _all(asked, Finding.UNPARSABLE, str(problem))
    by_ordinal: dict[int, list[Mapping[str, object]]] = {}
    strays = 0
    for entry in entries:
        ordinal = _ordinal(entry, ordinal_key)
        if isinstance(entry, Mapping) and ordinal is not None and 1 <= ordinal <= asked:
            values = {k: v for k, v in entry.items() if k != ordinal_key}
            by_ordinal.setdefault(ordinal, []).append(values)
        else:
            strays += 1
    absent = Finding.TRUNCATED if stop is StopReason.TRUNCATED else Finding.MISSING
    outputs = tuple(_output(n, by_ordinal.get(n, []), absent, violation, decode) for n in range(1, asked + 1))
    return DecodedAnswer(outputs=outputs, strays=strays)


def _ordinal(entry: object, ordinal_key: str) -> int | None:
    """The entry's ordinal; JSON Schema calls 1.0 an integer too."""
    ordinal = entry.get(ordinal_key) if isinstance(entry, Mapping) else None
    if isinstance(ordinal, float) and ordinal.is_integer():
        return int(ordinal)
    return ordinal if isinstance(ordinal, int) and not isinstance(ordinal, bool) else None


def failed_answer(asked: int, finding: Finding, detail: str) -> DecodedAnswer:
    """The findings when no answer came at all."""
    return _all(asked, finding, detail)


def _output(
    ordinal: int,
    found: Sequence[Mapping[str, object]],
    absent: Finding,
    violation: Callable[[Mapping[str, object]], str | None],
    decode: Callable[[Mapping[str, object]], Mapping[str, object]],
) -> DecodedOutput:
    if not found:
        detail = (
            "the answer ended before this block" if absent is Finding.TRUNCATED else "the answer has no entry for it"
        )
        return DecodedOutput(ordinal=ordinal, finding=absent, detail=detail)
    problem = next((p for p in map(_unstorable, found) if p is not None), None)
    # Compared as text, because to Python 1, 1.0 and true are equal.
    different = 1 if problem else len({canonical_json(values) for values in found})
    if different > 1:
        detail = f"the answer has {different} different entries for it"
        return DecodedOutput(ordinal=ordinal, finding=Finding.DUPLICATE, detail=detail)
    values = found[0]
    if problem is None:
        try:
            values = decode(found[0])
            problem = violation(values)
        except NotDecodable as twice:
            problem = str(twice)
    if problem is not None:
        return DecodedOutput(ordinal=ordinal, finding=Finding.INVALID, detail=problem)
    said = len(ordered_json(found[0]))
    return DecodedOutput(ordinal=ordinal, finding=Finding.VALID, values=values, said_chars=said)


def _unstorable(values: Mapping[str, object]) -> str | None:
    """Why no database could keep the values: JSON can spell characters, numbers and depths that others cannot hold."""
    level: list[object] = [values]
    for _ in range(_MOST_LEVELS):
        level = [child for node in level if isinstance(node, dict | list) for child in _children(node)]
    if level:
        return f"its values are nested deeper than {_MOST_LEVELS} levels"
    try:
        text = canonical_json(values)
    except ValueError:
        return "a number is too large to be told from infinity"
    # Escaped backslashes go first: they are text, and so is what follows them.
    if "\\u0000" in text.replace("\\\\", ""):
        return "a value holds the character NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a value holds half of a surrogate pair"
    return None


def _children(node: dict[str, object] | list[object]) -> Iterable[object]:
    return node.values() if isinstance(node, dict) else node


def _all(asked: int, finding: Finding, detail: str) -> DecodedAnswer:
    outputs = tuple(DecodedOutput(ordinal=n, finding=finding, detail=detail) for n in range(1, asked + 1))
    return DecodedAnswer(outputs=outputs, strays=0)


def _entries(text: str, *, cut: bool) -> list[object]:
    """The entries of the results array; of a cut answer, those that are complete.

    Raises ValueError saying what is wrong.
    """
    try:
        document = _DECODER.decode(text)
    except (ValueError, RecursionError) as problem:
        if cut:
            return _complete_entries(text)
        raise ValueError(f"the answer is not JSON: {problem}") from problem
    results = document.get(RESULTS) if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise ValueError(f"the answer has no {RESULTS} array")
    return results


def _complete_entries(text: str) -> list[object]:
    # What stands between the entries is white space and commas.
    opening = _OPENING.match(text)
    if opening is None:
        return []
    entries: list[object] = []
    at = opening.end()
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            entry, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return entries
        entries.append(entry)
