from __future__ import annotations

from datetime import UTC, datetime

from tokenopt_pipeline.domain.indexes import IndexedChunk, ServedIndex
from tokenopt_pipeline.domain.retrieval import IndexStanding


def test_an_index_stands_as_its_sources_and_probes_say() -> None:
    index = ServedIndex(
        index_no=1,
        name="style",
        recipe_digest="d",
        chunk_tokens=200,
        embedder=None,
        dimension=None,
        n_chunks=1,
        n_rules=0,
        built_at=datetime(2026, 11, 1, tzinfo=UTC),
        is_stale=True,
        calibration=None,
    )

    assert index.standing == IndexStanding(name="style", is_stale=True, calibration=None)


def test_a_chunk_is_shown_with_its_names() -> None:
    chunk = IndexedChunk(chunk_no=1, source_name="a.md", title="Guide", heading="", text="text", n_tokens=2)

    assert chunk.passage == "Guide\ntext"
