"""Views of a run stay within one answer's bounds and lose nothing silently."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.run_views import (
    MOST_BLOCKS,
    MOST_BYTES,
    MOST_RULES,
    MOST_TEXT_BYTES,
    MOST_VALUES_BYTES,
    BlockOutcome,
    FoundRule,
    RuleFindings,
    RunBlock,
    bounded_blocks,
    bounded_outcome,
    bounded_rules,
    no_index,
    schema_for_type,
)
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples
from tokenopt_pipeline_tests.factories import a_schema, a_schema_of


def a_block(ordinal: int = 0, text: str = "The tenant pays.") -> RunBlock:
    n_bytes = len(text.encode("utf-8", "replace"))
    return RunBlock(uid=f"d:{ordinal}", ordinal=ordinal, type=BlockType.PARAGRAPH, text=text, n_bytes=n_bytes)


@examples(50)
@given(st.lists(st.one_of(ANY_TEXT, st.sampled_from(["x" * 20_000, "é" * 9_000, "😈" * 5_000])), max_size=70))
def test_blocks_fit_into_one_answer_in_order_and_a_cut_one_says_so(texts: list[str]) -> None:
    blocks = [a_block(i, text) for i, text in enumerate(texts)]
    shown = bounded_blocks(blocks)
    assert [block.uid for block in shown] == [block.uid for block in blocks[: len(shown)]]
    assert len(shown) <= MOST_BLOCKS
    assert sum(len(block.text.encode()) for block in shown) <= MOST_BYTES
    assert bool(shown) is bool(blocks)
    for block, whole in zip(shown, texts, strict=False):
        assert len(block.text.encode()) <= MOST_TEXT_BYTES
        assert whole.encode("utf-8", "replace").decode().startswith(block.text)
        assert block.is_cut is (len(whole.encode("utf-8", "replace")) > MOST_TEXT_BYTES)


def test_four_long_blocks_fill_an_answer_and_the_fifth_waits() -> None:
    assert MOST_BYTES == 4 * MOST_TEXT_BYTES
    assert len(bounded_blocks(a_block(i, "x" * 20_000) for i in range(9))) == 4


@pytest.mark.parametrize(("size", "is_cut"), [(MOST_VALUES_BYTES - 8, False), (MOST_VALUES_BYTES - 7, True)])
def test_values_that_are_too_long_are_left_out_and_said_to_be_there(size: int, is_cut: bool) -> None:
    """Eight bytes stand around the value."""
    outcome = BlockOutcome(uid="d:0", ordinal=0, status="ai_complete", values={"a": "x" * size})
    bounded = bounded_outcome(outcome)
    assert bounded.is_cut is is_cut
    assert (bounded.values is None) is is_cut


def test_an_outcome_without_values_stays_as_it_is() -> None:
    outcome = BlockOutcome(uid="d:0", ordinal=0, status="skipped")
    assert bounded_outcome(outcome) == outcome


def a_rule(text: str) -> FoundRule:
    return FoundRule(rule_id="r1", reference="guide", text=text, score=0.5)


def test_rules_fit_into_one_answer() -> None:
    many = RuleFindings(rules=tuple(a_rule("short") for _ in range(MOST_RULES + 5)))
    assert len(bounded_rules(many).rules) == MOST_RULES
    long = RuleFindings(rules=tuple(a_rule("x" * 20_000) for _ in range(9)), message="m")
    assert [len(rule.text) for rule in bounded_rules(long).rules] == [MOST_TEXT_BYTES] * 4
    assert bounded_rules(long).message == "m"


def _properties(schema: Any, block_type: BlockType) -> list[str]:
    properties: Any = schema_for_type(schema, block_type).answer_schema["properties"]
    return list(properties)


def test_a_type_gets_the_fields_that_are_not_about_another_type() -> None:
    schema = a_schema_of("party", "table_rows", "code_language", "Snippet")
    assert _properties(schema, BlockType.PARAGRAPH) == ["party"]
    assert _properties(schema, BlockType.TABLE) == ["party", "table_rows"]
    assert _properties(schema, BlockType.CODE_BLOCK) == ["party", "code_language", "Snippet"]


def test_a_required_field_is_asked_of_every_type() -> None:
    schema = a_schema(properties={"table_rows": {}, "cell": {}, "table_code": {}}, required=["table_rows"])
    assert _properties(schema, BlockType.PARAGRAPH) == ["table_rows"]
    # What is about both types is asked of both.
    assert _properties(schema, BlockType.CODE_BLOCK) == ["table_rows", "table_code"]


def test_a_type_hears_whether_it_is_asked_about_at_all() -> None:
    everything = schema_for_type(a_schema(), BlockType.FIGURE)
    assert (everything.applies, everything.reason) == (True, "Schema obligations is asked of blocks of every type.")
    narrow = a_schema(applies_to=["table", "paragraph"])
    assert schema_for_type(narrow, BlockType.TABLE).applies
    figure = schema_for_type(narrow, BlockType.FIGURE)
    assert (figure.applies, figure.reason) == (False, "Schema obligations is asked of blocks of paragraph, table.")


def test_without_an_index_a_search_says_so_and_names_the_references() -> None:
    assert no_index(a_schema(references=["guide.md", "rules.yaml"])).message.endswith(": guide.md, rules.yaml.")
    assert no_index(a_schema()).message.endswith("References of its schema: none.")
    assert no_index(a_schema()).rules == ()
