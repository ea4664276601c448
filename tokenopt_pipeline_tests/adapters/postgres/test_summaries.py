"""A run's figures add up, say what is unknown, and count every breach."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import ProviderUnavailable, RequestRejected
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline_tests.factories import a_model
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply


def summaries(rig: Rig) -> PostgresSummaries:
    return PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model))


def figures(rig: Rig, run: Run) -> dict[str, Any]:
    return summaries(rig).summary(run)


@pytest.fixture
def mixed(rig: Rig) -> tuple[Rig, Run]:
    """Skipped, repeated, answered and failed blocks, with tries that got no answer."""
    rig.model = a_model(cache_minimum_tokens=1)

    def script(asked: Asked) -> Reply:
        if any("Clause 3:" in t for t in asked.texts):
            return RequestRejected("no", status=400)
        return ProviderUnavailable("overloaded") if asked.nth == 1 and "Clause 8:" in asked.texts[0] else None

    rig.provider.script = script
    rig.ingest("* * *", " ", *clauses(12), *clauses(2), types={"* * *": BlockType.DIVIDER})
    run = rig.plan(packing={"pack_size": 4}, run={"budget_usd": 1})
    rig.finish(run)
    return rig, run


def test_the_outcomes_add_up_to_the_blocks(mixed: tuple[Rig, Run]) -> None:
    rig, run = mixed
    found = figures(rig, run)

    expected = {"skipped": 2, "reused": 2, "ai_complete": 11, "confirmed": 0, "failed": 1, "outstanding": 0}
    assert found["outcomes"] == expected
    assert sum(expected.values()) == found["blocks"] == 16
    assert found["skipped_by_rule"] == {"blank": 1, "divider": 1}
    assert found["reused_by_rule"] == {"same_as_earlier_block": 2}
    assert found["failed_by_class"] == {"rejected": 1}
    assert (found["state"], found["kind"], found["violations"]) == ("complete", "simulated", 0)


def test_calls_tokens_and_dollars_are_those_of_the_provider(mixed: tuple[Rig, Run]) -> None:
    rig, run = mixed
    found = figures(rig, run)

    # Packs of 4, 4, 4; the first with clause 3 is refused and halved twice.
    assert (found["packs"], found["packs_from_splits"]) == (7, 4)
    assert (found["calls"], found["calls_failed"], found["calls_without_stored_answer"]) == (4, 4, 0)
    assert found["calls"] + found["calls_failed"] == len(rig.provider.asked)
    tokens = rig.rows(
        "select sum(input_uncached + cache_write_5m + cache_read)::int as input, sum(cache_read)::int as input_cached,"
        " sum(cache_write_5m)::int as cache_write, sum(output)::int as output from ledger"
    )
    assert [found["tokens"]] == tokens
    assert found["tokens"]["input_cached"] > 0
    assert found["usd"] == pytest.approx(float(rig.one("select sum(usd) from ledger")))
    assert found["budget_usd"] == 1.0


def test_the_baseline_is_one_call_per_block_and_dearer(mixed: tuple[Rig, Run]) -> None:
    rig, run = mixed
    found = figures(rig, run)
    assert found["usd_baseline"] > 2 * found["usd"]


def test_a_run_that_asked_nothing_has_spent_nothing_and_knows_no_baseline(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    found = figures(rig, rig.plan())
    assert (found["usd"], found["usd_baseline"], found["calls"]) == (0.0, None, 0)
    assert found["outcomes"]["outstanding"] == 3


def test_dollars_are_unknown_when_one_call_has_no_price(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    run = rig.plan(routing={"model": "anthropic/claude-of-tomorrow"}, run={"allow_unknown_price": True})
    rig.finish(run)
    found = figures(rig, run)
    assert (found["usd"], found["usd_baseline"]) == (None, None)
    assert found["tokens"]["input"] > 0


def test_figures_of_other_runs_and_kinds_do_not_leak_in(mixed: tuple[Rig, Run]) -> None:
    rig, run = mixed
    before = figures(rig, run)
    rig.finish(rig.plan(reuse={"enabled": False}, prefilter={"enabled": False}))
    # The baseline is scaled by what all calls of the schema and kind were billed.
    assert {**figures(rig, run), "usd_baseline": None} == {**before, "usd_baseline": None}


@pytest.mark.parametrize(
    "breach",
    [
        pytest.param("delete from overlay where status = 'failed'", id="a block without an outcome"),
        pytest.param("update overlay set call_no = 0 where call_no = (select max(call_no) from overlay where staged is not null"
                     ") and ordinal = (select max(ordinal) from overlay where call_no = (select max(call_no) from overlay"
                     " where staged is not null))", id="an answer of no call"),
        pytest.param("drop index one_last_output_per_block; insert into model_output select call_no, 99, run_no, block_no,"
                     " finding, answer, detail, true from model_output where is_last limit 1", id="a block answered twice"),
    ],
)  # fmt: skip
def test_every_breach_of_exactly_one_outcome_is_counted(mixed: tuple[Rig, Run], breach: str) -> None:
    rig, run = mixed
    with rig.connection.transaction(force_rollback=True):
        rig.connection.execute("set local session_replication_role = replica")
        rig.connection.execute(breach.encode())
        assert figures(rig, run)["violations"] == 1


def test_unfinished_shards_and_progress_say_what_is_left(rig: Rig) -> None:
    rig.ingest(*clauses(6))
    run, line = rig.plan(run={"shard_blocks": 2}), rig.line()
    assert summaries(rig).unfinished_shards(run) == [0, 1, 2]

    line.whole(run, Shard(run_no=run.run_no, shard_no=1))

    assert summaries(rig).unfinished_shards(run) == [0, 2]
    assert {**summaries(rig).progress(run), "usd": 0} == {"ended": 2, "answered": 2, "calls": 1, "usd": 0}


def test_the_newest_runs_come_first(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    first = rig.plan()
    second = rig.plan(packing={"pack_size": 1})
    assert [r["run_id"] for r in summaries(rig).recent()] == [second.run_id, first.run_id]
    assert [r["run_id"] for r in summaries(rig).recent(1)] == [second.run_id]
