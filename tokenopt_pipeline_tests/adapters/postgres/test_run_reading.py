"""One run as its tools see it: all of it, nothing else, and nothing can be changed on the way."""

from __future__ import annotations

import psycopg
import pytest

from tokenopt_pipeline.adapters.postgres.run_reading import PostgresRunReading
from tokenopt_pipeline.domain.errors import NotFound, StoreUnavailable
from tokenopt_pipeline.domain.run_views import MOST_TEXT_BYTES
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import values_for


@pytest.fixture
def two_runs(rig: Rig, database_url: str) -> tuple[PostgresRunReading, PostgresRunReading, str, str]:
    """(readings of two runs over collections of their own, a document of each)."""
    one = rig.ingest(*clauses(6), collection="one", name="one").document_id
    other = rig.ingest("Elsewhere.", *clauses(8)[6:], collection="other", name="other").document_id
    runs = [rig.plan(rig.request(collection=name)) for name in ("one", "other")]
    for run in runs:
        rig.finish(run)
    first, second = (PostgresRunReading(database_url, run.run_id) for run in runs)
    return first, second, one, other


def test_blocks_come_in_document_order_from_any_place(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(3), name="b")
    rig.ingest("Earlier.", name="a")
    run = rig.plan()
    reading = PostgresRunReading(database_url, run.run_id)
    # Nothing was enrolled yet.
    texts = ["Earlier.", *clauses(3)]
    assert [(b.ordinal, b.text) for b in reading.blocks(start=0, count=9)] == list(enumerate(texts))
    assert [b.text for b in reading.blocks(start=1, count=2)] == texts[1:3]
    assert reading.blocks(start=4, count=9) == []
    assert reading.run == run


def test_a_long_text_is_read_no_further_than_it_is_shown(rig: Rig, database_url: str) -> None:
    rig.ingest("é" * 40_000)
    (block,) = PostgresRunReading(database_url, rig.plan().run_id).blocks(start=0, count=1)
    assert (len(block.text), block.n_bytes, block.is_cut) == (MOST_TEXT_BYTES, 80_000, True)


def test_outcomes_are_the_blocks_own_and_those_of_answered_blocks_before_it(rig: Rig, database_url: str) -> None:
    rig.provider.script = answers.on_text("Clause 3:", answers.refusing)
    document = rig.ingest(*clauses(6)).document_id
    run = rig.plan()
    rig.finish(run)
    reading = PostgresRunReading(database_url, run.run_id)

    outcomes = reading.outcomes(f"{document}:5")

    assert [o.uid for o in outcomes] == [f"{document}:{i}" for i in (5, 4, 2, 1)]
    assert outcomes[0].values == values_for(clauses(6)[5], run.schema.properties)
    (failed, *_) = reading.outcomes(f"{document}:3")
    assert (failed.status, failed.values) == ("failed", None)


def test_an_undecided_block_has_an_outcome_without_values(rig: Rig, database_url: str) -> None:
    document = rig.ingest(*clauses(2)).document_id
    run, _, _ = rig.packed()
    (outcome,) = PostgresRunReading(database_url, run.run_id).outcomes(f"{document}:1")
    assert (outcome.status, outcome.values) == ("submitted", None)


def test_nothing_of_another_run_is_readable(
    two_runs: tuple[PostgresRunReading, PostgresRunReading, str, str],
) -> None:
    one, other, own_document, foreign_document = two_runs
    assert {b.uid.partition(":")[0] for b in one.blocks(start=0, count=50)} == {own_document}
    assert {b.uid.partition(":")[0] for b in other.blocks(start=0, count=50)} == {foreign_document}
    assert one.outcomes(f"{foreign_document}:0") == []
    assert other.outcomes(f"{own_document}:0") == []
    assert one.outcomes(f"{own_document}:0")
    assert other.outcomes(f"{foreign_document}:0")


def test_a_second_run_over_the_same_blocks_sees_its_own_outcomes_only(rig: Rig, database_url: str) -> None:
    document = rig.ingest(*clauses(2)).document_id
    first = rig.plan(packing={"pack_size": 2})
    rig.finish(first)
    second = rig.plan(packing={"pack_size": 3}, reuse={"enabled": False})
    reading = PostgresRunReading(database_url, second.run_id)
    # It is planned, and no block of it has a story; the first run's is not told.
    assert reading.outcomes(f"{document}:1") == []
    assert PostgresRunReading(database_url, first.run_id).outcomes(f"{document}:1")[0].values is not None
    rig.provider.script = answers.always(answers.refusing)
    rig.finish(second)
    assert [(o.uid, o.status) for o in reading.outcomes(f"{document}:1")] == [(f"{document}:1", "failed")]
    answered = PostgresRunReading(database_url, first.run_id).outcomes(f"{document}:1")
    assert [(o.uid, o.status) for o in answered] == [(f"{document}:{i}", "ai_complete") for i in (1, 0)]


@pytest.mark.parametrize(
    "uid", ["", ":", "nonsense", "0" * 64, "0" * 64 + ":-1", "0" * 64 + ":1234567890", "a\0b:1", "' or true --:1"]
)
def test_what_is_no_address_of_a_block_finds_nothing(rig: Rig, database_url: str, uid: str) -> None:
    rig.ingest(*clauses(1))
    assert PostgresRunReading(database_url, rig.plan().run_id).outcomes(uid) == []


def test_a_run_that_is_not_there_is_not_found(database_url: str) -> None:
    with pytest.raises(NotFound):
        PostgresRunReading(database_url, "r20990101-other")


def test_a_reading_session_cannot_write(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(1))
    reading = PostgresRunReading(database_url, rig.plan().run_id)
    with reading._session() as session, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        session.execute("delete from tokenopt.collection")


def test_a_database_that_goes_away_is_told_as_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        PostgresRunReading("postgresql://127.0.0.1:9/nowhere", "r1")
