from __future__ import annotations

from datetime import UTC, datetime

from tokenopt_pipeline.domain.indexes import IndexedChunk, ServedIndex
from tokenopt_pipeline.domain.retrieval import IndexStanding


def an_index(*, sections: int = 3, rules: int = 0) -> ServedIndex:
    return ServedIndex(
        index_no=1,
        name="style",
        recipe_digest="d",
        chunk_tokens=200,
        embedder=None,
        dimension=None,
        n_chunks=1,
        n_sections=sections,
        n_rules=rules,
        built_at=datetime(2026, 11, 1, tzinfo=UTC),
        is_stale=True,
        calibration=None,
    )


def test_an_index_stands_as_its_sources_and_probes_say() -> None:
    assert an_index().standing == IndexStanding(name="style", is_stale=True, calibration=None)


def test_an_index_speaks_for_itself_when_every_section_is_a_rule() -> None:
    assert an_index(sections=3, rules=3).speaks_for_itself
    assert not an_index(sections=3, rules=2).speaks_for_itself
    assert not an_index(sections=0, rules=0).speaks_for_itself


def test_a_chunk_is_shown_with_its_names() -> None:
    chunk = IndexedChunk(chunk_no=1, source_name="a.md", title="Guide", heading="", text="text", n_tokens=2)

    assert chunk.passage == "Guide\ntext"
