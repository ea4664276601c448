"""YAML rule sets: Vale styles, one rule a file or several under `rules`, with each rule's own trigger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import yaml

from tokenopt_pipeline.adapters.patterns import trouble_with
from tokenopt_pipeline.adapters.readers.decoding import decode_utf8
from tokenopt_pipeline.domain.errors import DocumentUnreadable
from tokenopt_pipeline.domain.references import Section
from tokenopt_pipeline.domain.triggers import Trigger, TriggerKind, is_phrase, severity_of

SUFFIXES = (".yml", ".yaml")
_MOST_BYTES = 5_000_000
_WORDS_IN_NAME = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_-]+")
_PLACEHOLDER = re.compile(r"%s|%\[\d+\]s|\$\d")
# What stands for the word a rule complains about, in a rule's message.
ELLIPSIS = "…"


def read_rules(name: str, content: bytes) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """(a section per rule, notes on what of a rule cannot be used).

    Raises DocumentUnreadable for what is not YAML, or holds no rule.
    """
    if len(content) > _MOST_BYTES:
        raise DocumentUnreadable(name, f"a rule set of {len(content):,} bytes; the limit is {_MOST_BYTES:,} bytes")
    try:
        document = yaml.safe_load(decode_utf8(name, content))
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise DocumentUnreadable(name, f"it is not YAML: {' '.join(str(problem).split())[:200]}") from problem
    rules = list(_rules(document, PurePath(name).stem))
    if not rules:
        raise DocumentUnreadable(name, "it holds no rule: a mapping with `extends` or `message`, or a list of such")
    sections, notes = [], []
    for rule_name, rule in rules:
        trigger, trouble = _trigger(rule)
        notes += [f"{name}: rule {rule_name}: {each}" for each in trouble]
        heading = " ".join(_WORDS_IN_NAME.sub(" ", rule_name).split())
        sections.append(Section(heading=heading, text=_text(rule) or heading, trigger=trigger))
    return tuple(sections), tuple(notes)


def _rules(document: object, stem: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, rule) of every mapping that looks like one."""
    if isinstance(document, Mapping) and isinstance(document.get("rules"), Sequence | Mapping):
        document = document["rules"]
    if isinstance(document, Mapping):
        if "extends" in document or "message" in document:
            yield str(document.get("name") or stem), document
            return
        named = [(str(key), value) for key, value in document.items()]
    elif isinstance(document, list):
        named = [(f"{stem} {nth}", value) for nth, value in enumerate(document, start=1)]
    else:
        return
    for name, value in named:
        if isinstance(value, Mapping) and ("extends" in value or "message" in value):
            yield str(value.get("name") or value.get("id") or name), value


def _text(rule: Mapping[str, Any]) -> str:
    """What a model is shown of a rule: its message, what it is about, what it wants instead."""
    lines = [_PLACEHOLDER.sub(ELLIPSIS, str(rule.get("message") or "")).strip(), str(rule.get("description") or "")]
    tokens = [str(token) for token in _listed(rule, "tokens") if not isinstance(token, Mapping)]
    lines.append(f"Terms: {'; '.join([*map(str, _listed(rule, 'raw')), *tokens])}" if tokens or rule.get("raw") else "")
    swaps = _swaps(rule)
    lines.append("Instead: " + "; ".join(f"{wrong} → {right}" for wrong, right in swaps) if swaps else "")
    if isinstance(rule.get("either"), Mapping):
        lines.append("One of: " + "; ".join(f"{one} or {other}" for one, other in rule["either"].items()))
    return "\n".join(line for line in lines if line)


def _trigger(rule: Mapping[str, Any]) -> tuple[Trigger | None, list[str]]:
    """The rule's condition as far as one block alone can tell, and what is wrong with its patterns."""
    kind, phrases, patterns = _condition(rule)
    if kind is None:
        return None, []
    ignore_case = bool(rule.get("ignorecase"))
    exceptions = tuple(str(each) for each in _listed(rule, "exceptions"))
    usable, trouble = _usable(kind, patterns, ignore_case)
    exceptional = trouble_with("|".join(exceptions), ignore_case) if exceptions else None
    if exceptional is not None:
        trouble.append(f"its exceptions are not used, {exceptional}")
    if not phrases and (not usable or (kind is not TriggerKind.EXISTENCE and len(usable) < len(patterns))):
        return None if kind is not TriggerKind.SENTENCE_CASE else _built(rule, kind, (), (), exceptions), trouble
    built = _built(rule, kind, phrases, tuple(usable), () if exceptional else exceptions)
    # Of exceptions that are not used it only fires too often.
    return (replace(built, is_complete=False) if len(trouble) > (exceptional is not None) else built), trouble


def _usable(kind: TriggerKind, patterns: Sequence[str], ignore_case: bool) -> tuple[list[str], list[str]]:
    """(patterns that can be used, why others cannot). Those of which any one may match are searched for as one."""
    if kind is TriggerKind.EXISTENCE and len(patterns) > 1:
        together = "|".join(patterns)
        if trouble_with(together, ignore_case) is None:
            return [together], []
    problems = {pattern: trouble_with(pattern, ignore_case) for pattern in patterns}
    usable = [pattern for pattern in patterns if problems[pattern] is None]
    trouble = [f"pattern {pattern[:60]!r} is not used, {why}" for pattern, why in problems.items() if why is not None]
    return (["|".join(usable)] if kind is TriggerKind.EXISTENCE and usable else usable), trouble


def _built(
    rule: Mapping[str, Any],
    kind: TriggerKind,
    phrases: tuple[str, ...],
    patterns: tuple[str, ...],
    exceptions: tuple[str, ...],
) -> Trigger:
    most = rule.get("max")
    return Trigger(
        kind=kind,
        phrases=phrases,
        patterns=patterns,
        ignore_case=bool(rule.get("ignorecase")),
        exceptions=exceptions,
        scopes=tuple(str(each) for each in _listed(rule, "scope")),
        most=most if isinstance(most, int) else 0,
        severity=severity_of(rule.get("level")),
    )


def _condition(rule: Mapping[str, Any]) -> tuple[TriggerKind | None, tuple[str, ...], list[str]]:
    """(kind, phrases, patterns); no kind for what needs a dictionary, a tagger, a script or a whole document."""
    tokens = [str(token) for token in _listed(rule, "tokens") if not isinstance(token, Mapping) and str(token).strip()]
    match rule.get("extends"):
        case "existence":
            return TriggerKind.EXISTENCE, *_split(tokens, rule, prefix="".join(map(str, _listed(rule, "raw"))))
        case "substitution":
            return TriggerKind.EXISTENCE, *_split([wrong for wrong, _ in _swaps(rule)], rule)
        case "occurrence" if "max" in rule:
            return TriggerKind.OCCURRENCE, (), [str(rule.get("token", ""))]
        case "repetition" if tokens:
            return TriggerKind.REPETITION, (), ["|".join(tokens)]
        case "consistency" if isinstance(rule.get("either"), Mapping):
            return TriggerKind.CONSISTENCY, (), [rf"\b(?:{word})\b" for pair in rule["either"].items() for word in pair]
        case "conditional" if "first" in rule and "second" in rule:
            return TriggerKind.CONDITIONAL, (), [str(rule["first"]), str(rule["second"])]
        case "capitalization" if rule.get("match") == "$sentence":
            return TriggerKind.SENTENCE_CASE, (), []
        case _:
            return None, (), []


def _split(tokens: Sequence[str], rule: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, ...], list[str]]:
    """(phrases, patterns) as Vale reads them: whole words unless `nonword`, behind what `raw` says."""
    nonword = bool(rule.get("nonword"))
    if prefix:
        rest = "|".join(tokens)
        return (), [prefix + (rf"\b(?:{rest})\b" if tokens and not nonword else f"(?:{rest})")]
    phrases = tuple(token for token in tokens if not nonword and is_phrase(token))
    patterns = [token for token in tokens if nonword or not is_phrase(token)]
    return phrases, [f"(?:{pattern})" if nonword else rf"\b(?:{pattern})\b" for pattern in patterns]


def _swaps(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what is wrong, what is right), in the rule's order."""
    swap = rule.get("swap")
    pairs = [swap] if isinstance(swap, Mapping) else swap if isinstance(swap, list) else []
    return [(str(wrong), str(right)) for pair in pairs if isinstance(pair, Mapping) for wrong, right in pair.items()]


def _listed(rule: Mapping[str, Any], key: str) -> list[Any]:
    found = rule.get(key)
    return found if isinstance(found, list) else [] if found is None or isinstance(found, Mapping) else [found]
