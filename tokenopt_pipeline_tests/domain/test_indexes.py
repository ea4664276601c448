from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRule, IndexedRules, ServedIndex, lenders_of, lent_by
from tokenopt_pipeline.domain.retrieval import IndexStanding
from tokenopt_pipeline.domain.triggers import Trigger, TriggerKind


def an_index() -> ServedIndex:
    return ServedIndex(
        index_no=1,
        name="style",
        recipe_digest="d",
        chunk_tokens=200,
        embedder=None,
        dimension=None,
        n_chunks=1,
        n_sections=1,
        n_rules=0,
        built_at=datetime(2026, 11, 1, tzinfo=UTC),
        is_stale=True,
        calibration=None,
    )


def test_an_index_stands_as_its_sources_and_probes_say() -> None:
    assert an_index().standing == IndexStanding(name="style", is_stale=True, calibration=None)


def test_other_indexes_that_hold_rules_lend_them_in_the_order_of_their_names() -> None:
    pages = an_index()
    terms, rules = (
        replace(pages, index_no=no, name=name, recipe_digest=f"of {name}", n_rules=3)
        for no, name in ((2, "terms"), (3, "rules"))
    )

    assert lenders_of(pages, [terms, pages, rules]) == [rules, terms]
    assert lenders_of(rules, [terms, pages, rules]) == [terms]
    assert lent_by([rules, terms]) == {"rules": "of rules", "terms": "of terms"}


def test_a_chunk_is_shown_with_its_names() -> None:
    chunk = IndexedChunk(chunk_no=1, source_name="a.md", title="Guide", heading="", text="text", n_tokens=2)

    assert chunk.passage == "Guide\ntext"


RULE = IndexedRule(
    chunk_no=1, source_name="a.yml", heading="A", message="m", trigger=Trigger(kind=TriggerKind.EXISTENCE)
)


def test_rules_decide_where_half_the_room_holds_what_they_do_not_speak_for() -> None:
    known = IndexedRules(rules=(RULE,), untold={2: 30, 3: 20})

    assert known.untold_tokens == 50
    assert known.decide_within(100)
    assert not known.decide_within(99)


def test_without_a_rule_nothing_is_decided() -> None:
    assert not IndexedRules(rules=(), untold={}).decide_within(1_000)
