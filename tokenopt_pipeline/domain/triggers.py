"""Triggers: what makes a rule speak up about a block, in the terms of the rule's own definition."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: (start, end) of a match, end exclusive.
Span = tuple[int, int]
#: (pattern, ignore case, text) -> the matches in order. Raises TimeoutError when the pattern takes too long.
Find = Callable[[str, bool, str], Iterator[Span]]

_SEVERITIES = ("suggestion", "warning", "error")
_PHRASE = re.compile(r"\w(?:[\w '’,&/-]*\w)?")
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class TriggerKind(StrEnum):
    """The ways in which a rule can be broken by one block alone."""

    #: Something stands there that should not.
    EXISTENCE = "existence"
    #: A pattern occurs more often than allowed, within the block or within one sentence.
    OCCURRENCE = "occurrence"
    #: The same thing stands twice in a row.
    REPETITION = "repetition"
    #: Two spellings of one word in one block; patterns come in pairs.
    CONSISTENCY = "consistency"
    #: What the first pattern finds is not introduced by what the second one captures.
    CONDITIONAL = "conditional"
    #: A heading is not in sentence case.
    SENTENCE_CASE = "sentence_case"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One rule's own condition."""

    kind: TriggerKind
    #: Plain words and phrases, matched as whole words; they begin and end with a letter, digit or underscore.
    phrases: tuple[str, ...] = ()
    #: Regular expressions, complete with their word boundaries.
    patterns: tuple[str, ...] = ()
    ignore_case: bool = False
    #: A match that is one of these, as a whole, is none. Regular expressions.
    exceptions: tuple[str, ...] = ()
    #: Parts of a text the rule is about, any of them; `~` excludes, `&` joins. Empty: all.
    scopes: tuple[str, ...] = ()
    #: `OCCURRENCE`: so many are allowed.
    most: int = 0
    #: 0 suggestion, 1 warning, 2 error: how much the rule's author minds.
    severity: int = 1
    #: Whether it is the whole condition: a pattern that could not be used is missing otherwise.
    is_complete: bool = True

    @property
    def decides(self) -> bool:
        """Whether its silence says that a block keeps the rule: nothing is missing, and blocks are told apart as it asks."""
        return self.is_complete and all(_is_told(part.strip()) for each in self.scopes for part in each.split("&"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """Which triggers fired on a block, and which could not be told."""

    #: Trigger's key -> the first words it fired on. In the order of the keys.
    fired: Mapping[int, str]
    #: Keys of triggers of which a pattern took too long.
    undecided: tuple[int, ...]


def is_phrase(token: str) -> bool:
    """Whether the token means itself: no character in it is a regular expression's."""
    return _PHRASE.fullmatch(token) is not None


def severity_of(level: object) -> int:
    """0 to 2 for a stated level; what states none, or one we do not know, counts as a warning."""
    return _SEVERITIES.index(level) if level in _SEVERITIES else 1


class RuleBook:
    """Triggers made ready to be asked about many blocks."""

    def __init__(self, triggers: Mapping[int, Trigger]) -> None:
        """Key -> trigger; keys are the caller's and come back in `Firing`."""
        self._triggers = dict(sorted(triggers.items()))
        #: First word of a phrase in lower case -> (key, phrase, ignore case).
        self._phrases: dict[str, list[tuple[int, str, bool]]] = {}
        for key, trigger in self._triggers.items():
            for phrase in trigger.phrases if trigger.kind is TriggerKind.EXISTENCE else ():
                first = _WORD.match(phrase.lower())
                assert first is not None  # a phrase begins with a letter, digit or underscore
                lowered = phrase.lower() if trigger.ignore_case else phrase
                self._phrases.setdefault(first[0], []).append((key, lowered, trigger.ignore_case))
        #: What a block is -> the triggers that are about it.
        self._about: dict[frozenset[str], dict[int, Trigger]] = {}

    def fire(self, text: str, find: Find, *, scopes: frozenset[str]) -> Firing:
        """The triggers that fire on a block's text. `scopes` says what the block is (`block_scopes`)."""
        if scopes not in self._about:
            self._about[scopes] = {key: each for key, each in self._triggers.items() if _is_about(each.scopes, scopes)}
        about = self._about[scopes]
        fired = {key: words for key, words in self._spoken(text).items() if key in about}
        undecided = []
        for key, trigger in about.items():
            if key in fired and not trigger.exceptions:
                continue
            try:
                span = next(_KINDS[trigger.kind](trigger, text, find), None)
            except TimeoutError:
                undecided.append(key)
                span = None
            if span is None:
                fired.pop(key, None)
            else:
                fired[key] = text[span[0] : span[1]]
        return Firing(fired=dict(sorted(fired.items())), undecided=tuple(undecided))

    def _spoken(self, text: str) -> dict[int, str]:
        """Key -> the first phrase of the trigger that stands in the text."""
        lowered = text.lower()
        # A letter whose lower case is longer than itself would shift every position after it.
        same_length = len(lowered) == len(text)
        found: dict[int, str] = {}
        for word in _WORD.finditer(lowered):
            for key, phrase, ignore_case in self._phrases.get(word[0], ()):
                if key in found:
                    continue
                where = lowered if ignore_case or not same_length else text
                end = word.start() + len(phrase)
                if where.startswith(phrase, word.start()) and not _WORD.match(where, end):
                    found[key] = (text if same_length else lowered)[word.start() : end]
        return found


_BLOCK_SCOPES = frozenset({"heading", "text", "raw", "code", "list", "table", "sentence", "paragraph"})


def block_scopes(block_type: str, text: str) -> tuple[frozenset[str], str]:
    """What a block is, in the words rules use for their scope, and its text without the marks that say so."""
    marked = re.match(r"#{1,6}[ \t]+", text)
    if block_type == "heading" or marked:
        return frozenset({"heading", "text", "raw"}), text[marked.end() :] if marked else text
    if block_type == "code_block":
        return frozenset({"code", "raw"}), text
    kinds = {"list_item": "list", "table": "table", "html_block": "raw"}
    return frozenset({"text", "sentence", "paragraph", "raw", kinds.get(block_type, "paragraph")}), text


def _is_about(wanted: Sequence[str], scopes: frozenset[str]) -> bool:
    return not wanted or any(all(_is_in(part.strip(), scopes) for part in each.split("&")) for each in wanted)


def _is_told(part: str) -> bool:
    """Whether a scope may be taken for wider than it is, but never for narrower."""
    # Links, emphasis and the like are not seen in a block; "not a first-level heading" would leave all headings out.
    return "." not in part if part.startswith("~") else part.split(".", maxsplit=1)[0] in _BLOCK_SCOPES


def _is_in(part: str, scopes: frozenset[str]) -> bool:
    excluded = part.startswith("~")
    return (part.removeprefix("~").split(".")[0] in scopes) is not excluded


def _existence(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    patterns = trigger.patterns
    if trigger.phrases:
        # Asked only where exceptions may rule out what the phrase table has found.
        patterns = (
            (*patterns, rf"\b(?:{'|'.join(map(re.escape, trigger.phrases))})\b") if trigger.exceptions else patterns
        )
    for pattern in patterns:
        for start, end in find(pattern, trigger.ignore_case, text):
            if end > start and not _is_excepted(trigger, text[start:end], find):
                yield start, end


def _occurrence(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    parts = _SENTENCE_END.split(text) if "sentence" in trigger.scopes else [text]
    for part in parts:
        if sum(1 for _ in find(trigger.patterns[0], trigger.ignore_case, part)) > trigger.most:
            start = text.index(part)
            yield start, start + len(part)


def _repetition(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    before: Span | None = None
    for start, end in find(trigger.patterns[0], trigger.ignore_case, text):
        said = text[start:end]
        if before is not None and any(letter.isalpha() for letter in said) and not text[before[1] : start].strip():
            earlier = text[before[0] : before[1]]
            if said == earlier or (trigger.ignore_case and said.lower() == earlier.lower()):
                yield before[0], end
        before = (start, end)


def _consistency(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    for one, other in zip(trigger.patterns[::2], trigger.patterns[1::2], strict=True):
        first, second = (next(find(pattern, trigger.ignore_case, text), None) for pattern in (one, other))
        if first and second:
            yield min(first, second)


def _conditional(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    wanted, introduced = trigger.patterns
    known = [text[start:end] for start, end in find(introduced, trigger.ignore_case, text)]
    for start, end in find(wanted, trigger.ignore_case, text):
        said = text[start:end]
        if not any(f"({said})" in each for each in known) and not _is_excepted(trigger, said, find):
            yield start, end


def _sentence_case(trigger: Trigger, text: str, find: Find) -> Iterator[Span]:
    words = [*re.finditer(r"\S+", text)]
    for before, word in itertools.pairwise(words):
        said = word[0].strip(".,:;!?()\"'“”‘’")
        if before[0].endswith((":", ".", "!", "?")) or not said[:1].isupper() or said.isupper():
            continue
        if not _is_excepted(trigger, said, find):
            yield word.span()


def _is_excepted(trigger: Trigger, said: str, find: Find) -> bool:
    if not trigger.exceptions:
        return False
    return any(find(rf"\A(?:{'|'.join(trigger.exceptions)})\Z", trigger.ignore_case, said))


_KINDS: Mapping[TriggerKind, Callable[[Trigger, str, Find], Iterator[Span]]] = {
    TriggerKind.EXISTENCE: _existence,
    TriggerKind.OCCURRENCE: _occurrence,
    TriggerKind.REPETITION: _repetition,
    TriggerKind.CONSISTENCY: _consistency,
    TriggerKind.CONDITIONAL: _conditional,
    TriggerKind.SENTENCE_CASE: _sentence_case,
}
