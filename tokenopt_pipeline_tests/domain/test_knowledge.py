from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.indexes import ServedIndex
from tokenopt_pipeline.domain.knowledge import (
    NO_KNOWLEDGE,
    Knowledge,
    RunReference,
    carried_found,
    carried_nothing,
    carried_whole,
    parse_knowledge,
    text_id,
)
from tokenopt_pipeline.domain.retrieval import ContextKind, found_at_most, on_demand, search_failed

STYLE = RunReference(name="style", sources_digest="s1", n_tokens=900, text_id=text_id("whole"), index_recipe="r1")
TERMS = RunReference(name="terms", sources_digest="s2", n_tokens=100, text_id=text_id("terms"), index_recipe=None)
BOTH = Knowledge(references=(STYLE, TERMS))


def an_index(recipe: str = "r1", *, is_stale: bool = False) -> ServedIndex:
    return ServedIndex(
        index_no=1,
        name="style",
        recipe_digest=recipe,
        chunk_tokens=200,
        embedder=None,
        dimension=None,
        n_chunks=1,
        n_sections=3,
        n_rules=0,
        built_at=datetime(2026, 11, 1, tzinfo=UTC),
        is_stale=is_stale,
        calibration=None,
    )


def test_what_a_run_knows_survives_json() -> None:
    assert parse_knowledge(json.loads(json.dumps(BOTH.document()))) == BOTH
    assert parse_knowledge(NO_KNOWLEDGE.document()) == NO_KNOWLEDGE
    assert (BOTH.n_tokens, NO_KNOWLEDGE.n_tokens) == (1_000, 0)


def test_the_recipe_names_sources_and_index_and_not_how_long_they_are() -> None:
    assert BOTH.recipe == [["style", "s1", "r1"], ["terms", "s2", None]]
    longer = Knowledge(references=(replace(STYLE, n_tokens=901), TERMS))
    assert longer.recipe == BOTH.recipe


def test_only_the_index_that_the_run_was_planned_with_is_trusted() -> None:
    for served, stale in ((an_index(), False), (an_index(is_stale=True), True), (an_index("r2"), True)):
        standing = STYLE.standing(served)
        assert standing is not None
        assert standing.is_stale is stale
    built_since = TERMS.standing(an_index())
    assert built_since is not None
    assert built_since.is_stale
    assert STYLE.standing(None) is None


def test_an_index_stands_with_the_rules_that_the_runs_other_references_lend() -> None:
    rules = replace(an_index("t1"), index_no=2, name="terms", n_rules=4)
    alone, lent = STYLE.standing(an_index()), STYLE.standing(an_index(), [an_index(), rules])
    assert alone is not None
    assert lent is not None
    assert (alone.lent_by, lent.lent_by) == ({}, {"terms": "t1"})


def test_a_pack_carries_all_references_or_passages_in_their_order_or_nothing() -> None:
    whole = carried_whole(search_failed("down"), BOTH)
    assert (whole.kind, whole.tokens, whole.prefix_tokens) == (ContextKind.FULL, 1_000, 1_000)
    assert whole.text_ids == (STYLE.text_id, TERMS.text_id)
    found = carried_found(found_at_most(70), ["b", "a", "b"], tokens=70)
    assert (found.kind, found.tokens, found.prefix_tokens) == (ContextKind.RETRIEVED, 70, 0)
    assert found.text_ids == (text_id("b"), text_id("a"), text_id("b"))
    nothing = carried_nothing(on_demand())
    assert (nothing.kind, nothing.tokens, nothing.text_ids) == (ContextKind.ON_DEMAND, 0, ())


@given(st.text(), st.text())
def test_texts_are_kept_under_32_hex_digits_of_their_own(one: str, other: str) -> None:
    assert len(text_id(one)) == 32
    assert set(text_id(one)) <= set("0123456789abcdef")
    assert (text_id(one) == text_id(other)) == (one == other)
