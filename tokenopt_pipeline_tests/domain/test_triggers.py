from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.triggers import (
    Firing,
    RuleBook,
    Span,
    Trigger,
    TriggerKind,
    block_scopes,
    is_phrase,
    severity_of,
)

PARAGRAPH, _ = block_scopes("paragraph", "")
HEADING, _ = block_scopes("heading", "")


def find(pattern: str, ignore_case: bool, text: str) -> Iterator[Span]:
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    return (match.span() for match in re.finditer(pattern, text, flags))


def never_ends(pattern: str, ignore_case: bool, text: str) -> Iterator[Span]:
    raise TimeoutError


def fire(trigger: Trigger, text: str, scopes: frozenset[str] = PARAGRAPH) -> Firing:
    return RuleBook({7: trigger}).fire(text, find, scopes=scopes)


def words_fired_on(trigger: Trigger, text: str, scopes: frozenset[str] = PARAGRAPH) -> str | None:
    return fire(trigger, text, scopes).fired.get(7)


def existence(*phrases: str, **more: object) -> Trigger:
    return Trigger(kind=TriggerKind.EXISTENCE, phrases=phrases, **more)  # type: ignore[arg-type] # the fields vary


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        pytest.param("very", "It is very good.", "very", id="a word"),
        pytest.param("very", "every thing", None, id="a part of a word is none"),
        pytest.param("very", "veryx", None, id="nor is its beginning"),
        pytest.param("in order to", "Do it in order to win", "in order to", id="words in a row"),
        pytest.param("able-bodied", "an able-bodied man", "able-bodied", id="with a hyphen"),
        pytest.param("Very", "very", None, id="case counts"),
    ],
)
def test_a_phrase_fires_as_whole_words(phrase: str, text: str, found: str | None) -> None:
    assert words_fired_on(existence(phrase), text) == found


def test_case_is_ignored_when_the_rule_says_so_and_the_block_is_quoted_as_it_stands() -> None:
    assert words_fired_on(existence("very", ignore_case=True), "VERY good") == "VERY"


@given(
    phrase=st.text(alphabet="abé_ -'9", min_size=1, max_size=6).filter(is_phrase),
    text=st.text(alphabet="abéAB_ -'9.", max_size=40),
    ignore_case=st.booleans(),
)
def test_a_phrase_fires_exactly_where_the_regular_expression_would(phrase: str, text: str, ignore_case: bool) -> None:
    whole_words = rf"\b(?:{re.escape(phrase)})\b"
    expected = next(find(whole_words, ignore_case, text), None)

    assert words_fired_on(existence(phrase, ignore_case=ignore_case), text) == (
        None if expected is None else text[expected[0] : expected[1]]
    )


def test_a_letter_that_grows_in_lower_case_does_not_shift_what_is_found() -> None:
    assert words_fired_on(existence("very", ignore_case=True), "İİİ very") == "very"


def test_the_first_phrase_of_several_is_told() -> None:
    assert words_fired_on(existence("very", "quite"), "quite or very") == "quite"


def test_a_pattern_fires_and_an_empty_match_does_not() -> None:
    assert words_fired_on(existence(patterns=(r"\d+ ?pm",)), "at 10pm") == "10pm"
    assert words_fired_on(existence(patterns=(r"x*",)), "none") is None


def test_an_exception_rules_out_a_match_but_not_the_next_one() -> None:
    trigger = existence("api", "gui", ignore_case=True, exceptions=("API",))

    assert words_fired_on(trigger, "the API") is None
    assert words_fired_on(trigger, "the API and the GUI") == "GUI"


@pytest.mark.parametrize(
    ("scopes", "block", "fires"),
    [
        ((), PARAGRAPH, True),
        (("heading",), PARAGRAPH, False),
        (("heading",), HEADING, True),
        (("heading.h1",), HEADING, True),
        (("~heading",), HEADING, False),
        (("~heading",), PARAGRAPH, True),
        (("text & ~heading",), PARAGRAPH, True),
        (("text & ~heading",), HEADING, False),
        (("heading", "sentence"), PARAGRAPH, True),
    ],
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, frozenset) else str(value),
)
def test_a_rule_speaks_only_about_its_scope(scopes: tuple[str, ...], block: frozenset[str], fires: bool) -> None:
    assert (words_fired_on(existence("very", scopes=scopes), "very", block) is not None) is fires


def test_too_many_in_one_sentence_fires_and_the_same_number_in_two_does_not() -> None:
    trigger = Trigger(kind=TriggerKind.OCCURRENCE, patterns=(r"\w+",), most=3, scopes=("sentence",))

    assert words_fired_on(trigger, "One two. Three four five six.") == "Three four five six."
    assert words_fired_on(trigger, "One two three. Four five six.") is None


def test_too_many_in_a_block_are_counted_over_its_sentences() -> None:
    trigger = Trigger(kind=TriggerKind.OCCURRENCE, patterns=("!",), most=1)

    assert words_fired_on(trigger, "Oh! No!") == "Oh! No!"


@pytest.mark.parametrize(
    ("text", "ignore_case", "found"),
    [
        ("the the cat", False, "the the"),
        ("The the cat", False, None),
        ("The the cat", True, "The the"),
        ("the cat the", False, None),
        ("1 1", False, None),
    ],
)
def test_a_word_that_stands_twice_fires(text: str, ignore_case: bool, found: str | None) -> None:
    trigger = Trigger(kind=TriggerKind.REPETITION, patterns=(r"\w+",), ignore_case=ignore_case)

    assert words_fired_on(trigger, text) == found


def test_two_spellings_in_one_block_fire_and_one_does_not() -> None:
    trigger = Trigger(kind=TriggerKind.CONSISTENCY, patterns=("colour", "color"))

    assert words_fired_on(trigger, "colour and color") == "colour"
    assert words_fired_on(trigger, "colour and colour") is None


def test_an_acronym_fires_unless_it_is_introduced_or_excepted() -> None:
    trigger = Trigger(
        kind=TriggerKind.CONDITIONAL,
        patterns=(r"\b[A-Z]{3,5}\b", r"(?:\b[A-Z][a-z]+ )+\([A-Z]{3,5}\)"),
        exceptions=("API",),
    )

    assert words_fired_on(trigger, "The DAFB is here.") == "DAFB"
    assert words_fired_on(trigger, "The Dover Air Force Base (DAFB): DAFB.") is None
    assert words_fired_on(trigger, "The API is here.") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("This is a Heading", "Heading"),
        ("This is a heading", None),
        ("Made with Azure", None),
        ("The JSON format", None),
        ("First: Second part", None),
    ],
)
def test_a_heading_with_a_capital_inside_fires(text: str, found: str | None) -> None:
    trigger = Trigger(kind=TriggerKind.SENTENCE_CASE, exceptions=("Azure",), scopes=("heading",))

    assert words_fired_on(trigger, text, HEADING) == found


def test_a_pattern_that_takes_too_long_is_undecided_and_never_fired() -> None:
    book = RuleBook({1: existence("very", patterns=("x",), exceptions=("y",)), 2: existence("very")})

    firing = book.fire("very", never_ends, scopes=PARAGRAPH)

    assert firing == Firing(fired={2: "very"}, undecided=(1,))


def test_firings_come_in_the_order_of_their_keys() -> None:
    book = RuleBook({3: existence("a"), 1: existence(patterns=("b",)), 2: existence("c")})

    assert list(book.fire("a b", find, scopes=PARAGRAPH).fired) == [1, 3]


@pytest.mark.parametrize(
    ("block_type", "text", "scope", "rest"),
    [
        ("paragraph", "# Title", "heading", "Title"),
        ("heading", "Title", "heading", "Title"),
        ("paragraph", "#hash", "sentence", "#hash"),
        ("list_item", "one", "list", "one"),
        ("table", "a", "table", "a"),
        ("code_block", "# comment", "heading", "comment"),
        ("code_block", "x = 1", "code", "x = 1"),
    ],
)
def test_a_block_is_in_the_scopes_of_its_kind(block_type: str, text: str, scope: str, rest: str) -> None:
    scopes, plain = block_scopes(block_type, text)

    assert scope in scopes
    assert plain == rest


@pytest.mark.parametrize(
    ("level", "severity"), [("error", 2), ("warning", 1), ("suggestion", 0), (None, 1), ("loud", 1)]
)
def test_a_level_that_is_not_known_counts_as_a_warning(level: object, severity: int) -> None:
    assert severity_of(level) == severity


@pytest.mark.parametrize(
    ("token", "means_itself"),
    [("very", True), ("a victim of", True), ("can't", True), ("e.g", False), ("x*", False), ("", False), ("-x", False)],
)
def test_a_token_with_a_meta_character_is_no_phrase(token: str, means_itself: bool) -> None:
    assert is_phrase(token) is means_itself


@pytest.mark.parametrize(
    ("scopes", "decides"),
    [
        ((), True),
        (("sentence", "list"), True),
        (("heading.h2",), True),
        (("text & ~heading",), True),
        (("~link",), True),
        (("link",), False),
        (("~heading.h1",), False),
        (("paragraph", "alt"), False),
    ],
)
def test_a_silent_rule_is_kept_only_where_blocks_are_told_apart_as_it_asks(
    scopes: tuple[str, ...], decides: bool
) -> None:
    assert Trigger(kind=TriggerKind.EXISTENCE, phrases=("x",), scopes=scopes).decides is decides


def test_a_rule_that_lacks_a_pattern_decides_nothing_by_its_silence() -> None:
    assert not Trigger(kind=TriggerKind.EXISTENCE, phrases=("x",), is_complete=False).decides
