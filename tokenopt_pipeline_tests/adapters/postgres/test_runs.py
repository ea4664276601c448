"""Runs and shards: found, ended, cancelled, addressed by partition key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
import pytest

from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.shards import PostgresShards
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.domain.calls import AnsweredCall
from tokenopt_pipeline.domain.errors import NotFound, StoreUnavailable
from tokenopt_pipeline.domain.prefilter import KEPT
from tokenopt_pipeline.domain.runs import Shard, shard_key
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses


def test_a_run_that_does_not_exist_is_not_found(rig: Rig) -> None:
    with pytest.raises(NotFound, match="run 'r-nowhere' does not exist"):
        PostgresRuns(rig.connection).find("r-nowhere")


def test_an_open_run_can_be_cancelled_once(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run, runs = rig.plan(), PostgresRuns(rig.connection)

    assert runs.cancel(run.run_id, now=rig.clock.now())
    before = rig.states()
    assert not runs.cancel(run.run_id, now=rig.clock.now())

    assert runs.find(run.run_id).state == "cancelled"
    assert rig.states() == before
    with pytest.raises(NotFound):
        runs.cancel("r-nowhere", now=rig.clock.now())


def test_a_cancelled_run_never_completes_and_its_inputs_can_be_planned_anew(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run, runs = rig.plan(), PostgresRuns(rig.connection)
    runs.cancel(run.run_id, now=rig.clock.now())

    assert not runs.close_if_done(run.run_no, now=rig.clock.now())
    assert rig.plan().run_id != run.run_id


def test_a_run_is_not_done_before_its_last_block_is_enrolled_and_ended(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run, runs = rig.plan(), PostgresRuns(rig.connection)
    assert not runs.close_if_done(run.run_no, now=rig.clock.now())

    rig.finish(run)

    assert runs.close_if_done(run.run_no, now=rig.clock.now())


def test_shards_find_their_blocks_in_documents_that_begin_before_them_or_have_none(rig: Rig) -> None:
    rig.ingest(*clauses(3), name="a")
    rig.ingest(*(f"{each} Again." for each in clauses(5)), name="b")
    rig.ingest("Elsewhere.", name="c")
    run, shards = rig.plan(run={"shard_blocks": 2}), PostgresShards(rig.connection)
    rig.connection.execute(
        "with empty as (insert into document (document_id, source_type, reader_version, n_bytes, n_blocks, created_at)"
        " values (repeat('e', 64), 'text', 1, 1, 0, now()) returning document_no)"
        " insert into run_document select run_no, document_no, 3 from run, empty"
    )

    for shard_no, n in enumerate([2, 2, 2, 2, 1]):
        shard = Shard(run_no=run.run_no, shard_no=shard_no)
        verdicts = dict.fromkeys(shards.undecided_facts(shard, words_cap=50), KEPT)
        assert shards.count(shard) == n
        assert shards.decide(shard, verdicts, words_cap=50, reuse=True) == {"kept": n}
        assert shards.undecided_facts(shard, words_cap=50) == []

    assert rig.rows("select ordinal from overlay order by 1") == [{"ordinal": i} for i in range(9)]


@pytest.mark.parametrize("ordinal", ["1 - block_index", "block_index + 1"], ids=["the other's place", "the next place"])
def test_overlays_of_one_statement_are_refused_when_they_are_not_in_their_places(rig: Rig, ordinal: str) -> None:
    rig.ingest(*clauses(2), name="a")
    rig.ingest("Elsewhere.", name="b")
    rig.plan()

    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="not all are of blocks that stand there"):
        rig.connection.execute(
            "insert into overlay (run_no, block_no, shard_no, ordinal, answer_key, verdict, rule_id, evidence)"
            f" select run_no, block_no, 0, {ordinal}, gen_random_uuid(), 'keep', 'kept', 'e' from block"
            " join run_document d using (document_no) where d.first_ordinal = 0".encode()
        )


def test_a_partition_key_leads_to_its_shard(rig: Rig) -> None:
    rig.ingest(*clauses(5))
    run = rig.plan(run={"shard_blocks": 2})
    shards = PostgresShards(rig.connection)

    found = [shards.at(shard_key(run.run_id, n)) for n in range(3)]

    assert found == [(run.run_id, Shard(run_no=run.run_no, shard_no=n)) for n in range(3)]


@pytest.mark.parametrize(
    "key", ["run1-000003", "run2-000000", "run1", "", "-", "run1-", "run1--1", "run1-99999999999999999999"]
)
def test_a_partition_key_of_no_shard_is_not_found(rig: Rig, key: str) -> None:
    rig.ingest(*clauses(5))
    assert rig.plan(run={"shard_blocks": 2}).run_id == "run1"
    with pytest.raises(NotFound, match="is not a shard of any run"):
        PostgresShards(rig.connection).at(key)


def test_processes_that_decide_about_one_shard_at_once_give_each_block_one_overlay(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(500))
    run = rig.plan()
    shard = Shard(run_no=run.run_no, shard_no=0)

    def decide(_: int) -> int:
        with connect(database_url) as connection:
            shards = PostgresShards(connection)
            verdicts = dict.fromkeys(shards.undecided_facts(shard, words_cap=50), KEPT)
            return shards.decide(shard, verdicts, words_cap=50, reuse=True)["kept"]

    with ThreadPoolExecutor(4) as processes:
        counts = list(processes.map(decide, range(4)))

    assert counts == [500] * 4
    assert len(rig.overlays(run)) == 500


def test_an_answer_that_another_process_has_stored_is_not_taken_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.ingest(*clauses(2))
    run, shard, line = rig.packed()
    settle = line.calls.settle

    def settle_twice(call: AnsweredCall, *, now: datetime) -> None:
        settle(call, now=now)
        settle(call, now=now)

    monkeypatch.setattr(line.calls, "settle", settle_twice)
    with pytest.raises(StoreUnavailable, match="has ended already"):
        line.collect(run, shard)

    assert rig.one("select count(*) from ledger") == 1
    assert rig.one("select count(*) from model_output") == 2


def test_a_database_that_cannot_be_reached_is_said_to_be_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"^database: "), connect("postgresql://ann:secret@127.0.0.1:1/nowhere"):
        pass


def test_schemas_that_differ_only_in_their_name_show_each_its_own(rig: Rig) -> None:
    rig.ingest("A clause.")
    named = {name: rig.plan(rig.request(schema=a_schema_document(ref=name))) for name in ("duties", "rights")}
    assert {name: run.schema.ref for name, run in named.items()} == {"duties": "duties", "rights": "rights"}
    assert len({run.run_id for run in named.values()}) == 2
    assert rig.one("select count(*) from extraction_schema") == 1
    recent = PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).recent()
    assert [r["schema"] for r in recent] == ["rights", "duties"]
    for run in named.values():
        rig.finish(run)
    # What is asked is the same, so it is asked once.
    assert len(rig.provider.asked) == 1
