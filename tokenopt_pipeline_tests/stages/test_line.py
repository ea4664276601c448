"""The straight line taken twice changes nothing the second time; a shard belongs to one process at a time."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.adapters.postgres import connection as connection_module
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.statements import statement
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import ShardBusy, StoreUnavailable
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import Rig, changed_tables, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import on_text

#: Stage -> the tables its first pass writes to.
WRITES: dict[str, set[str]] = {
    "count": set(),
    "decide": {"overlay"},
    "pack": {"pack", "pack_block", "overlay"},
    "collect": {"call", "response", "ledger", "model_output", "pack", "pack_block"},
    "reconcile": {"overlay", "run"},
}


def test_each_stage_taken_twice_changes_nothing_and_asks_nothing_the_second_time(rig: Rig) -> None:
    rig.ingest("* * *", *clauses(30), *clauses(3), types={"* * *": BlockType.DIVIDER})
    rig.provider.script = on_text("Clause 7:", answers.refusing)
    run, line = rig.plan(), rig.line()
    shard = Shard(run_no=run.run_no, shard_no=0)

    for stage, writes in WRITES.items():
        before = rig.states()
        first = getattr(line, stage)(run, shard)
        after = rig.states()
        assert changed_tables(before, after) == writes, stage
        asked = len(rig.provider.asked)

        again = getattr(rig.line(), stage)(run, shard)

        assert changed_tables(after, rig.states()) == set(), stage
        assert len(rig.provider.asked) == asked
        # What a stage says of the shard it says again; what it did it does not do again.
        assert again == (0 if stage in ("pack", "collect") else first), stage

    assert rig.statuses(run) == {"skipped": 1, "ai_complete": 32, "failed": 1}


def test_the_whole_line_over_a_finished_run_changes_nothing(rig: Rig) -> None:
    rig.ingest(*clauses(30))
    run = rig.plan(run={"shard_blocks": 7})
    rig.finish(run)
    before = rig.states()

    rig.finish(run)
    rig.finish(rig.line().runs.find(run.run_id))

    assert rig.states() == before
    assert sorted(rig.provider.texts) == sorted(clauses(30))


def test_a_run_ends_with_its_last_block_and_not_before(rig: Rig) -> None:
    rig.ingest(*clauses(10))
    run, line = rig.plan(run={"shard_blocks": 5}), rig.line()

    line.whole(run, Shard(run_no=run.run_no, shard_no=1))
    assert line.runs.find(run.run_id).state == "open"

    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    assert line.runs.find(run.run_id).state == "complete"


def test_a_run_whose_blocks_are_all_skipped_asks_nothing_and_completes(rig: Rig) -> None:
    rig.ingest(" ", "\n")
    run = rig.plan()
    rig.finish(run)
    assert (rig.statuses(run), rig.provider.asked) == ({"skipped": 2}, [])
    assert rig.line().runs.find(run.run_id).state == "complete"


def test_nothing_is_asked_for_a_run_that_was_cancelled(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    run, shard, line = rig.packed()
    rig.connection.execute("update run set state = 'cancelled', ended_at = now()")

    assert line.collect(line.runs.find(run.run_id), shard) == 0
    assert rig.provider.asked == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits seconds for a lock."""
    monkeypatch.setattr(
        connection_module,
        "statement",
        lambda name: statement(name).replace("lock_timeout', '3s'", "lock_timeout', '50ms'"),
    )


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("stage", ["decide", "pack", "collect"])
def test_a_shard_that_another_process_works_on_is_busy(rig: Rig, database_url: str, stage: str) -> None:
    rig.ingest(*clauses(3))
    run, line = rig.plan(), rig.line()
    shard = Shard(run_no=run.run_no, shard_no=0)
    with connect(database_url) as elsewhere, rig.line(elsewhere).shards.exclusive(shard):
        before = rig.states()
        with pytest.raises(ShardBusy, match="shard 0 of run number"):
            getattr(line, stage)(run, shard)
        assert rig.states() == before

    getattr(line, stage)(run, shard)


def test_other_shards_of_the_run_are_free(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(4))
    run = rig.plan(run={"shard_blocks": 2})
    with (
        connect(database_url) as elsewhere,
        rig.line(elsewhere).shards.exclusive(Shard(run_no=run.run_no, shard_no=0)),
        rig.line().shards.exclusive(Shard(run_no=run.run_no, shard_no=1)),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_shard_is_free_again_when_its_process_is_gone(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(3))
    run, shard, line = rig.packed()
    with connect(database_url) as elsewhere:
        held = rig.line(elsewhere).shards.exclusive(shard)
        held.__enter__()
        with pytest.raises(ShardBusy):
            line.collect(run, shard)
        rig.connection.execute("select pg_terminate_backend(%s, 10000)", [elsewhere.info.backend_pid])

        assert line.collect(run, shard) == 1


def test_a_connection_that_dies_in_the_middle_is_told_as_the_store_being_unavailable(
    rig: Rig, database_url: str
) -> None:
    rig.ingest(*clauses(30))
    run, shard, _ = rig.packed()
    with connect(database_url) as doomed:
        line = rig.line(doomed)

        def kill(_: answers.Asked) -> answers.Reply:
            rig.connection.execute("select pg_terminate_backend(%s, 10000)", [doomed.info.backend_pid])
            return None

        rig.provider.script = kill
        with pytest.raises(StoreUnavailable):
            line.collect(run, shard)

    rig.provider.script = answers.always(answers.correct)
    rig.line().collect(run, shard)
    rig.line().reconcile(run, shard)
    assert rig.statuses(run) == {"ai_complete": 30}
    # The call whose answer was lost is still on record.
    assert rig.one("select count(*) from call where state = 'started'") >= 1
