"""Of packs in batches that share a prefix which is kept for money, one goes first, once, whatever is killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig
from tokenopt_pipeline_tests.stages.killed_batches import POINTS, killed
from tokenopt_pipeline_tests.stages.rig import Rig, clauses


@pytest.fixture
def batches(rig: Rig, sandbox: Sandbox) -> BatchRig:
    sandbox.control.reset()
    return BatchRig(rig=rig, sandbox=sandbox, vendor="anthropic")


def planned(rig: BatchRig, **policy: Any) -> tuple[Run, Shard]:
    """A run of ten packs behind a prefix of some thousand tokens."""
    rig.rig.ingest(*clauses(40))
    schema = a_schema_document() | {"description": "Read every clause with care, and weigh each of its words. " * 300}
    run = rig.rig.plan(
        rig.rig.request(
            mode="async",
            schema=schema,
            routing={"model": "anthropic/claude-haiku-5-5"},
            packing={"pack_size": 4},
            calls={"timeout_s": 20.0},
            **policy,
        )
    )
    line, shard = rig.line(), Shard(run_no=run.run_no, shard_no=0)
    line.decide(run, shard)
    line.pack(run, shard)
    return run, shard


def planned_shards(batches: BatchRig) -> tuple[Run, list[Shard]]:
    """The same as two shards of five packs."""
    run, first = planned(batches, run={"shard_blocks": 20})
    second, line = replace(first, shard_no=1), batches.line()
    line.decide(run, second)
    line.pack(run, second)
    return run, [first, second]


def finish(batches: BatchRig, run: Run, shards: list[Shard]) -> None:
    """Lets time pass, and looks after all shards, until nothing is outstanding."""
    line = batches.line()
    for _ in range(6):
        for shard in shards:
            line.advance(run, shard)
            line.reconcile(run, shard)
        if not batches.open_batches():
            return
        batches.pass_time(600)
        batches.watch(line)
    raise AssertionError(f"still outstanding: {batches.open_batches()}")


def sizes(batches: BatchRig) -> list[tuple[int, bool]]:
    """(Requests, whether others wait for it) of all batches that a provider had, in order."""
    found = batches.rig.rows("select * from batch where outcome is distinct from 'unborn' order by batch_no")
    return [(r["n_requests"], r["primes"] is not None) for r in found]


def billed(batches: BatchRig) -> tuple[int, int]:
    """Requests that wrote the prefix, and that read it."""
    one = batches.rig.one
    return (
        one("select count(*) from ledger where cache_write_1h > 0"),
        one("select count(*) from ledger where cache_read > 0"),
    )


def test_one_request_goes_first_and_the_others_read_what_it_has_written(batches: BatchRig) -> None:
    run, shard = planned(batches)
    assert batches.line().submit(run, shard) == {"batches": 1, "requests": 1}
    # Nobody else goes while it is under way, however often somebody looks.
    assert batches.line().submit(run, shard) == {"batches": 0, "requests": 0}
    batches.finish(run, shard, wait_s=600)
    assert sizes(batches) == [(1, True), (9, False)]
    assert billed(batches) == (1, 9)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 2, "intended": 2}
    (reason,) = {r["cache_reason"] for r in batches.rig.rows("select cache_reason from pack")}
    assert reason.endswith("One request goes first in a batch of its own, so that the others find it.")


def test_without_priming_a_prefix_that_nobody_would_find_is_not_written(batches: BatchRig) -> None:
    run, shard = planned(batches, batches={"prime": False})
    batches.finish(run, shard)
    assert sizes(batches) == [(10, False)]
    assert billed(batches) == (0, 0)


def test_a_batch_that_meets_a_cold_cache_writes_the_prefix_with_every_request(batches: BatchRig) -> None:
    run, shard = planned(batches, batches={"prime": False, "cold_hit_share": 1.0})
    batches.finish(run, shard)
    assert sizes(batches) == [(10, False)]
    assert billed(batches) == (10, 0)


def test_a_first_request_that_fails_is_not_followed_by_another_first_one(batches: BatchRig) -> None:
    batches.sandbox.control.set_faults({"batches": {"scripted": [{"fault": "item_errored", "nth": 1}]}})
    run, shard = planned(batches)
    batches.finish(run, shard)
    assert sizes(batches) == [(1, True), (10, False)]
    assert billed(batches) == (0, 0)
    assert batches.figures(run)["failed"] == 0


def test_after_a_first_batch_that_was_looked_at_too_late_nobody_pays_for_writing(batches: BatchRig) -> None:
    run, shard = planned(batches)
    batches.finish(run, shard, wait_s=5 * 3_600)
    assert sizes(batches) == [(1, True), (9, False)]
    assert billed(batches) == (1, 0)
    reasons = batches.rig.rows("select cache_reason from pack where cache_ttl is null")
    assert len(reasons) == 9
    assert "still keeps the prefix" in reasons[0]["cache_reason"]


def test_a_shard_whose_first_request_is_under_way_is_not_taken_for_forgotten(batches: BatchRig) -> None:
    run, shard = planned(batches)
    batches.line().submit(run, shard)
    batches.clock.ahead_s += 3_600
    store, now = PostgresBatches(batches.rig.connection), batches.clock.now()
    assert store.lease("l", most=9, until=now, idle_since=now, now=now) == []


def test_all_shards_of_a_run_wait_for_one_request(batches: BatchRig) -> None:
    run, shards = planned_shards(batches)
    made = [batches.line().submit(run, shard) for shard in shards]
    assert made == [{"batches": 1, "requests": 1}, {"batches": 0, "requests": 0}]
    store = PostgresBatches(batches.rig.connection)

    def leased(lease: str) -> list[Shard]:
        now = batches.clock.now()
        return store.lease(lease, most=9, until=now, idle_since=now, now=now)

    assert leased("a") == []
    batches.pass_time(600)
    batches.watch()
    assert leased("b") == shards[:1]
    batches.line().advance(run, shards[0])
    assert leased("c") == shards[1:]
    finish(batches, run, shards)
    assert sizes(batches) == [(1, True), (4, False), (5, False)]
    assert billed(batches) == (1, 9)
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 3, "intended": 3}


def test_when_the_one_request_brings_nothing_every_other_shard_has_one_of_its_own(batches: BatchRig) -> None:
    batches.sandbox.control.set_faults({"batches": {"scripted": [{"fault": "item_errored", "nth": 1}]}})
    run, shards = planned_shards(batches)
    for shard in shards:
        batches.line().submit(run, shard)
    finish(batches, run, shards)
    assert sizes(batches) == [(1, True), (5, False), (1, True), (4, False)]
    assert billed(batches) == (1, 4)
    assert batches.figures(run)["failed"] == 0


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_a_run_pays_for_no_second_first_request(
    batches: BatchRig, database_url: str, point: str
) -> None:
    run, shard = planned(batches)
    if POINTS.index(point) >= 2:
        batches.line().submit(run, shard)
        batches.pass_time(600)
    if POINTS.index(point) >= 3:
        # In the batch of the others.
        batches.watch()
        batches.line().advance(run, shard)
        batches.pass_time(600)
    killed(batches, database_url, run.run_id, point)
    batches.finish(run, shard)
    assert sizes(batches) == [(1, True), (9, False)]
    assert batches.figures(run) == {"lost": 0, "failed": 0, "doubled": 0, "made": 2, "intended": 2}
    assert batches.rig.one("select count(*) from ledger") == 10


@pytest.mark.parametrize("point", POINTS[:2])
def test_killed_at_any_point_of_the_others_batch_nobody_goes_first_again(
    batches: BatchRig, database_url: str, point: str
) -> None:
    run, shard = planned(batches)
    batches.line().submit(run, shard)
    batches.pass_time(600)
    batches.watch()
    killed(batches, database_url, run.run_id, point)
    batches.finish(run, shard)
    assert sizes(batches) == [(1, True), (9, False)]
    assert batches.rig.one("select count(*) from ledger") == 10
