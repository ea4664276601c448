"""Each rule fires on what it says and on nothing else; the first that fires decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.policy import PrefilterPolicy
from tokenopt_pipeline.domain.prefilter import KEPT, WORDS_CAP, BlockFacts, Verdict, count_words, decide, skip_rules
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples
from tokenopt_pipeline_tests.factories import a_schema, a_schema_of, some_facts

_ALL_OFF = PrefilterPolicy(
    figure_without_text=False,
    short_heading=False,
    table_without_field=False,
    code_without_field=False,
    divider=False,
    page_furniture=False,
)
_EVERYTHING = {"prefilter": {"heading_min_words": 3}, "applies_to": [t.value for t in BlockType]}


def _rule(facts: BlockFacts, policy: PrefilterPolicy | None = None, **members: Any) -> str:
    return decide(skip_rules(policy or PrefilterPolicy(), a_schema(**members)), facts).rule_id


@pytest.mark.parametrize(
    ("facts", "members", "rule"),
    [
        pytest.param(some_facts(is_blank=True, words=0), {}, "blank", id="blank"),
        pytest.param(some_facts(words=0), {}, "kept", id="only punctuation is not blank"),
        pytest.param(some_facts(), {"applies_to": ["table"]}, "outside_applies_to", id="not named"),
        pytest.param(some_facts(), {"applies_to": ["paragraph"]}, "kept", id="named"),
        pytest.param(
            some_facts(),
            {"applies_to": ["table"], "prefilter": {"keep_types": ["paragraph"]}},
            "kept",
            id="not named but kept",
        ),
        pytest.param(some_facts(type=BlockType.FIGURE, words=0), {}, "figure_without_text", id="a bare figure"),
        pytest.param(some_facts(type=BlockType.FIGURE, words=1), {}, "kept", id="a figure of one word"),
        pytest.param(
            some_facts(type=BlockType.HEADING, words=2),
            {"prefilter": {"heading_min_words": 3}},
            "short_heading",
            id="2 words of 3",
        ),
        pytest.param(
            some_facts(type=BlockType.HEADING, words=3),
            {"prefilter": {"heading_min_words": 3}},
            "kept",
            id="3 words of 3",
        ),
        pytest.param(some_facts(type=BlockType.HEADING, words=0), {}, "kept", id="no minimum"),
        pytest.param(
            some_facts(words=2), {"prefilter": {"heading_min_words": 3}}, "kept", id="a short paragraph is no heading"
        ),
        pytest.param(some_facts(type=BlockType.TABLE), {}, "table_without_field", id="a table nobody asks about"),
        pytest.param(
            some_facts(type=BlockType.TABLE),
            {"properties": {"rows": {}}, "required": []},
            "kept",
            id="a field about tables",
        ),
        pytest.param(some_facts(type=BlockType.CODE_BLOCK), {}, "code_without_field", id="code nobody asks about"),
        pytest.param(
            some_facts(type=BlockType.CODE_BLOCK),
            {"properties": {"snippet": {}}, "required": []},
            "kept",
            id="a field about code",
        ),
        pytest.param(some_facts(type=BlockType.DIVIDER), {}, "divider", id="a divider"),
        pytest.param(
            some_facts(type=BlockType.DIVIDER), {"prefilter": {"keep_types": ["divider"]}}, "kept", id="a kept divider"
        ),
        pytest.param(some_facts(type=BlockType.PAGE_HEADER), {}, "page_furniture", id="a page header"),
        pytest.param(some_facts(type=BlockType.PAGE_FOOTER), {}, "page_furniture", id="a page footer"),
        pytest.param(
            some_facts(type=BlockType.PAGE_HEADER),
            {"prefilter": {"keep_types": ["page_header"]}},
            "kept",
            id="a kept page header",
        ),
        pytest.param(
            some_facts(type=BlockType.PAGE_FOOTER),
            {"prefilter": {"keep_types": ["page_header"]}},
            "page_furniture",
            id="a page footer beside kept headers",
        ),
    ],
)
def test_a_rule_fires_on_what_it_says_and_not_otherwise(facts: BlockFacts, members: dict[str, Any], rule: str) -> None:
    assert _rule(facts, **members) == rule


@pytest.mark.parametrize("block_type", list(BlockType))
def test_a_type_that_the_schema_applies_to_is_skipped_only_for_lack_of_words(block_type: BlockType) -> None:
    assert _rule(some_facts(type=block_type), applies_to=[block_type.value]) == "kept"


def test_no_rule_but_five_looks_at_a_block_of_another_type() -> None:
    skipped = {t.value for t in BlockType if _rule(some_facts(type=t)) != "kept"}
    assert skipped == {"table", "code_block", "divider", "page_header", "page_footer"}


def test_the_first_rule_that_applies_decides() -> None:
    bare = some_facts(type=BlockType.FIGURE, is_blank=True, words=0)
    assert _rule(bare, applies_to=["table"]) == "blank"
    assert _rule(some_facts(type=BlockType.FIGURE, words=0), applies_to=["table"]) == "outside_applies_to"


def test_rules_are_tried_in_the_order_they_are_documented() -> None:
    schema = a_schema(prefilter={"heading_min_words": 3}, applies_to=["paragraph"])
    assert [rule.id for rule in skip_rules(PrefilterPolicy(), schema)] == [
        "blank",
        "outside_applies_to",
        "figure_without_text",
        "short_heading",
        "table_without_field",
        "code_without_field",
        "divider",
        "page_furniture",
    ]


@pytest.mark.parametrize(
    ("switch", "facts"),
    [
        ("figure_without_text", some_facts(type=BlockType.FIGURE, words=0)),
        ("short_heading", some_facts(type=BlockType.HEADING, words=2)),
        ("table_without_field", some_facts(type=BlockType.TABLE)),
        ("code_without_field", some_facts(type=BlockType.CODE_BLOCK)),
        ("divider", some_facts(type=BlockType.DIVIDER)),
        ("page_furniture", some_facts(type=BlockType.PAGE_FOOTER)),
    ],
)
def test_a_rule_that_is_switched_off_skips_nothing(switch: str, facts: BlockFacts) -> None:
    minimum: Any = {"prefilter": {"heading_min_words": 3}}
    assert _rule(facts, **minimum) == switch
    assert _rule(facts, PrefilterPolicy(**{switch: False}), **minimum) == "kept"


def test_blank_blocks_are_skipped_even_when_all_is_switched_off() -> None:
    off = PrefilterPolicy(enabled=False)
    assert _rule(some_facts(is_blank=True), off, applies_to=["table"]) == "blank"
    assert _rule(some_facts(is_blank=True), _ALL_OFF) == "blank"
    assert _rule(some_facts(), off, applies_to=["table"]) == "kept"


def test_a_kept_block_says_so() -> None:
    assert decide(skip_rules(PrefilterPolicy(), a_schema()), some_facts()) == KEPT
    assert (KEPT.verdict, KEPT.rule_id) == (Verdict.KEEP, "kept")


@pytest.mark.parametrize(
    ("facts", "members", "words"),
    [
        (some_facts(is_blank=True), {}, ["paragraph", "white space"]),
        (some_facts(), {"applies_to": ["table", "caption"]}, ["paragraph", "obligations", "caption, table"]),
        (some_facts(type=BlockType.FIGURE, words=0), {}, ["figure", "word"]),
        (
            some_facts(type=BlockType.HEADING, words=2),
            {"prefilter": {"heading_min_words": 3}},
            ["2 words", "obligations", "at least 3"],
        ),
        (some_facts(type=BlockType.TABLE), {}, ["table", "obligations", "field"]),
    ],
)
def test_the_evidence_of_a_skip_states_what_was_seen(
    facts: BlockFacts, members: dict[str, Any], words: list[str]
) -> None:
    decision = decide(skip_rules(PrefilterPolicy(), a_schema(**members)), facts)
    assert decision.verdict is Verdict.SKIP
    assert all(word in decision.evidence for word in words)


@pytest.mark.parametrize("minimum", [0, 1, 49, 50])
@pytest.mark.parametrize("block_type", list(BlockType))
def test_words_above_the_cap_are_one_case(block_type: BlockType, minimum: int) -> None:
    rules = skip_rules(PrefilterPolicy(), a_schema(prefilter={"heading_min_words": minimum}))
    at_the_cap = decide(rules, some_facts(type=block_type, words=WORDS_CAP))
    assert at_the_cap == decide(rules, some_facts(type=block_type, words=10_000))


def test_a_schema_that_names_every_type_keeps_every_block_with_words() -> None:
    rules = skip_rules(PrefilterPolicy(), a_schema_of("a", **_EVERYTHING))
    assert all(decide(rules, some_facts(type=t)) == KEPT for t in BlockType)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t", 0),
        ("— * …", 0),
        ("one", 1),
        ("one two\nthree", 3),
        ("don't — stop!", 2),
        ("2.1 Größe", 2),
        ("日本語", 2),
    ],
)
def test_a_word_is_what_stands_between_white_space_and_has_a_letter_or_digit(text: str, words: int) -> None:
    assert count_words(text) == words


@examples(100)
@given(ANY_TEXT, ANY_TEXT)
def test_words_of_two_texts_add_up(one: str, other: str) -> None:
    assert count_words(f"{one} {other}") == count_words(one) + count_words(other)
