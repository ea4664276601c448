from __future__ import annotations

from datetime import UTC, datetime

from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRule, IndexedRules, ServedIndex
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
