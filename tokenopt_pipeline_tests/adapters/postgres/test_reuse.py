"""An identical block is asked once: within a shard, over runs, but never across schemas, routes or kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.postgres.stories import PostgresStories, models_text
from tokenopt_pipeline.cli.telling import story_lines
from tokenopt_pipeline.domain.documents import BlockType, block_uid
from tokenopt_pipeline.domain.errors import RequestRejected
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import on_text, values_for

REPEATED = "The tenant pays the rent."


def confirm(rig: Rig, run: Run, values: Mapping[str, Any]) -> None:
    rig.connection.execute(
        "update overlay set status = 'confirmed', confirmed = %s where run_no = %s", [Jsonb(values), run.run_no]
    )


def test_repeated_blocks_of_a_shard_are_asked_once_and_each_gets_the_output(rig: Rig) -> None:
    rig.ingest(REPEATED, *clauses(2), REPEATED, REPEATED)
    run = rig.plan()
    rig.finish(run)

    assert rig.provider.texts.count(REPEATED) == 1
    outputs = rig.rows(
        "select ordinal, staged, status, reused_block_no from overlay join block using (block_no)"
        " where text = %(text)s order by ordinal",
        text=REPEATED,
    )
    assert [o["status"] for o in outputs] == ["ai_complete"] * 3
    assert [o["staged"] for o in outputs] == [values_for(REPEATED, run.schema.properties)] * 3
    assert [o["reused_block_no"] is None for o in outputs] == [True, False, False]
    evidence = rig.rows("select rule_id, evidence from overlay where verdict = 'reuse'")
    assert evidence == [{"rule_id": "same_as_earlier_block", "evidence": "The block repeats block 1 of the run."}] * 2


def test_equal_text_of_another_type_is_another_block(rig: Rig) -> None:
    rig.ingest(REPEATED, name="a")
    rig.ingest(REPEATED, name="b", types={REPEATED: BlockType.LIST_ITEM})
    rig.finish(rig.plan())
    assert rig.provider.texts == [REPEATED, REPEATED]


def test_a_block_that_fails_fails_its_repetitions_and_says_why(rig: Rig) -> None:
    rig.ingest(*clauses(1), REPEATED, REPEATED)
    rig.provider.script = on_text(REPEATED, RequestRejected("cannot read it", status=400))
    run = rig.plan()
    rig.finish(run)

    failed = rig.rows("select error_class, error_detail from overlay where status = 'failed' order by ordinal")
    assert failed == [
        {"error_class": "rejected", "error_detail": "cannot read it"},
        {"error_class": "rejected", "error_detail": "the identical block 2 of the run failed: cannot read it"},
    ]


def test_a_second_run_of_the_same_asks_nothing_and_names_where_the_answers_are_from(rig: Rig) -> None:
    rig.ingest(*clauses(20))
    first = rig.plan()
    rig.finish(first)
    rig.provider.asked.clear()

    second = rig.plan()
    rig.finish(second)

    assert second.run_no != first.run_no
    assert rig.provider.asked == []
    assert rig.wrong(second) == []
    assert {o["reused_run_no"] for o in rig.overlays(second).values()} == {first.run_no}
    assert rig.statuses(second) == {"ai_complete": 20}
    evidence = rig.one("select distinct evidence from overlay where run_no = %(run)s", run=second.run_no)
    assert evidence == "An identical block was answered in run run1."


def test_a_third_run_reuses_the_answer_itself_and_not_its_copy(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    runs = []
    for _ in range(3):
        runs.append(rig.plan())
        rig.finish(runs[-1])
    assert {o["reused_run_no"] for o in rig.overlays(runs[2]).values()} == {runs[0].run_no}


def test_a_document_that_grew_asks_only_what_is_new(rig: Rig) -> None:
    rig.ingest(*clauses(20))
    rig.finish(rig.plan())
    rig.provider.asked.clear()
    rig.ingest(*clauses(22))

    rig.finish(rig.plan())

    assert rig.provider.texts == clauses(22)[20:]


def test_failed_answers_are_not_reused(rig: Rig) -> None:
    rig.ingest(REPEATED)
    rig.provider.script = on_text(REPEATED, RequestRejected("cannot read it", status=400), times=1)
    rig.finish(rig.plan())

    second = rig.plan()
    rig.finish(second)

    assert rig.statuses(second) == {"ai_complete": 1}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"schema": a_schema_document(required=["kind", "party"])}, id="another schema"),
        pytest.param(
            {"schema": a_schema_document(prompt_config={"per_block_prompt": "Look closely."})}, id="other instructions"
        ),
        pytest.param({"routing": {"default_tier": "large"}}, id="another model"),
        pytest.param({"kind": RunKind.LIVE}, id="live after simulated"),
        pytest.param({"reuse": {"enabled": False}}, id="reuse is off"),
    ],
)
def test_what_would_be_asked_differently_is_asked_again(rig: Rig, changes: dict[str, Any]) -> None:
    rig.ingest(REPEATED, *clauses(3))
    rig.finish(rig.plan())
    rig.provider.asked.clear()

    request = rig.request(**changes)
    assert rig.predict(request).reused == 0
    rig.finish(rig.plan(request))

    assert sorted(rig.provider.texts) == sorted([REPEATED, *clauses(3)])


def test_simulated_answers_are_not_given_to_live_runs_nor_the_other_way_round(rig: Rig) -> None:
    rig.ingest(REPEATED)
    for kind in (RunKind.LIVE, RunKind.SIMULATED, RunKind.LIVE, RunKind.SIMULATED):
        rig.finish(rig.plan(rig.request(kind=kind)))
    assert len(rig.provider.asked) == 2


def test_with_reuse_switched_off_repeated_blocks_are_all_asked(rig: Rig) -> None:
    rig.ingest(REPEATED, REPEATED)
    rig.finish(rig.plan(reuse={"enabled": False}))
    assert rig.provider.texts == [REPEATED, REPEATED]


@pytest.mark.parametrize("packing", [{"pack_size": 1}, {"enabled": False}])
def test_how_blocks_are_packed_does_not_change_whose_answer_is_taken(rig: Rig, packing: dict[str, object]) -> None:
    rig.ingest(*clauses(3))
    rig.finish(rig.plan())
    rig.provider.asked.clear()
    rig.finish(rig.plan(packing=packing))
    assert rig.provider.asked == []


def test_a_persons_values_go_before_the_models(rig: Rig) -> None:
    rig.ingest(REPEATED)
    first = rig.plan()
    rig.finish(first)
    confirm(rig, first, {"party": "tenant", "kind": "duty"})

    second = rig.plan()
    rig.finish(second)

    overlay = rig.overlays(second)[REPEATED]
    assert (overlay["status"], overlay["staged"]) == ("ai_complete", {"party": "tenant", "kind": "duty"})


@pytest.mark.parametrize("reuse", [{"enabled": False}, {"enabled": True}], ids=["asked again", "reused"])
def test_a_confirmed_answer_of_a_later_run_goes_before_an_unconfirmed_one(rig: Rig, reuse: dict[str, object]) -> None:
    rig.ingest(REPEATED)
    rig.finish(rig.plan())
    later = rig.plan(reuse=reuse)
    rig.finish(later)
    confirm(rig, later, {"party": "tenant", "kind": "duty"})

    third = rig.plan()
    rig.finish(third)

    assert rig.overlays(third)[REPEATED]["staged"] == {"party": "tenant", "kind": "duty"}
    assert rig.overlays(third)[REPEATED]["reused_run_no"] == later.run_no


def in_shards(rig: Rig, *texts: str, size: int = 2) -> Run:
    rig.ingest(*texts)
    return rig.plan(run={"shard_blocks": size})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_repeated_blocks_of_different_shards_are_asked_once_whatever_order_the_shards_are_taken_in(
    rig: Rig, order: tuple[int, ...]
) -> None:
    run = in_shards(rig, REPEATED, "One.", "Two.", REPEATED, REPEATED, REPEATED)
    line = rig.line()
    for shard_no in order:
        line.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))

    assert sorted(rig.provider.texts) == sorted([REPEATED, "One.", "Two."])
    assert rig.statuses(run) == {"ai_complete": 6}
    assert rig.one("select state from run") == "complete"
    reused = rig.rows("select ordinal, reused_block_no from overlay where reused_run_no is not null order by 1")
    first = rig.one("select block_no from overlay where ordinal = 0")
    assert reused == [{"ordinal": n, "reused_block_no": first} for n in (3, 4, 5)]
    told = rig.rows("select distinct rule_id, evidence from overlay where verdict = 'reuse'")
    assert told == [{"rule_id": "same_as_earlier_block", "evidence": "The block repeats block 1 of the run."}]


def test_a_shard_that_waits_for_another_ones_block_says_so_until_that_has_ended(rig: Rig) -> None:
    run = in_shards(rig, REPEATED, "One.", "Two.", REPEATED)
    line = rig.line()
    assert line.whole(run, Shard(run_no=run.run_no, shard_no=1)) == {"ai_complete": 1, "pending": 1}
    assert rig.one("select state from run") == "open"
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    assert rig.statuses(run) == {"ai_complete": 4}
    assert rig.one("select state from run") == "complete"


def test_a_block_that_fails_fails_its_repetitions_in_other_shards(rig: Rig) -> None:
    rig.provider.script = on_text(REPEATED, RequestRejected("cannot read it", status=400))
    run = in_shards(rig, REPEATED, "One.", "Two.", REPEATED)
    line = rig.line()
    for shard_no in (1, 0):
        line.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))
    failed = rig.rows("select ordinal, error_detail from overlay where status = 'failed' order by ordinal")
    assert failed[1] == {"ordinal": 3, "error_detail": "the identical block 1 of the run failed: cannot read it"}


def test_repetitions_of_a_block_that_another_run_answered_take_its_answer_in_every_shard(rig: Rig) -> None:
    rig.ingest(REPEATED, name="first")
    rig.finish(rig.plan())
    rig.ingest("One.", REPEATED, "Two.", REPEATED, name="second")
    run = rig.plan(run={"shard_blocks": 2})
    rig.finish(run)
    assert rig.provider.texts.count(REPEATED) == 1
    assert rig.statuses(run) == {"ai_complete": 5}


def test_repetitions_across_shards_are_asked_again_when_reuse_is_off(rig: Rig) -> None:
    rig.ingest(REPEATED, "One.", "Two.", REPEATED)
    rig.finish(rig.plan(run={"shard_blocks": 2}, reuse={"enabled": False}))
    assert rig.provider.texts.count(REPEATED) == 2


def _story(rig: Rig, run: Run, text: str) -> dict[str, Any]:
    (row,) = rig.rows(
        "select document_id, block_index from block join document using (document_no) where text = %(text)s", text=text
    )
    return PostgresStories(rig.connection).of_block(run, block_uid(row["document_id"], row["block_index"]))


def test_a_block_that_is_asked_again_says_which_run_answered_it_and_what_differed(rig: Rig) -> None:
    rig.ingest(REPEATED)
    first = rig.plan()
    rig.finish(first)
    assert _story(rig, first, REPEATED)["not_reused"] == "no run has answered an identical block."

    for policy, words in (
        ({"packing": {"output_form": "plain"}}, "the compact form of answers"),
        ({"routing": {"model": "anthropic/claude-opus-5-5"}}, "other models"),
        ({"reuse": {"enabled": False}, "run": {"budget_usd": 5}}, "reuse.enabled is false"),
    ):
        run = rig.plan(**policy)
        rig.finish(run)
        story = _story(rig, run, REPEATED)
        assert words in story["not_reused"]
        assert any("1 block in document order" in line for line in story_lines(story))

    again = rig.plan(run={"budget_usd": 6})
    rig.finish(again)
    story = _story(rig, again, REPEATED)
    assert (story["verdict"], story["not_reused"]) == ("reuse", None)


def test_a_plan_knows_the_runs_that_answered_its_blocks_otherwise(rig: Rig) -> None:
    rig.ingest(REPEATED, *clauses(3))
    run = rig.plan(packing={"output_form": "plain"})
    rig.finish(run)
    (other,) = PostgresPlanning(rig.connection).answered_otherwise("contracts", answer_recipe="0" * 64)
    assert (other.run_id, other.form, other.blocks) == (run.run_id, "plain", 4)
    assert other.models == models_text(run.policy.routing.models)
    assert (
        PostgresPlanning(rig.connection).answered_otherwise(
            "contracts", answer_recipe=other.recipe.replace("-", "") * 2
        )
        == []
    )


def test_blocks_that_are_reused_are_not_told_as_answered_otherwise(rig: Rig) -> None:
    rig.ingest(REPEATED, *clauses(3))
    rig.finish(rig.plan(packing={"output_form": "plain"}))
    compact = rig.plan(packing={"output_form": "compact"})
    rig.finish(compact)
    recipe = rig.one("select answer_recipe::text from run where run_no = %(r)s", r=compact.run_no).replace("-", "") * 2
    rig.ingest("A clause of its own.", name="later")
    rig.finish(rig.plan(packing={"output_form": "plain"}))

    told = PostgresPlanning(rig.connection).answered_otherwise("contracts", answer_recipe=recipe)

    assert [each.blocks for each in told] == [1]
