"""What people say of answers, and reviewed answers of several runs, each with its tier, its dollars and its doubts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.reviews import PostgresReviews
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound
from tokenopt_pipeline.domain.overlays import OverlayStatus
from tokenopt_pipeline.domain.reviews import Reviewer
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import not_json, values_for


def _confirm(rig: Rig, run: Run, text: str, values: dict[str, Any]) -> None:
    rig.connection.execute(
        "update overlay o set status = 'confirmed', confirmed = %(values)s from block b "
        "where b.block_no = o.block_no and b.text = %(text)s and o.run_no = %(run_no)s",
        {"values": Jsonb(values), "text": text, "run_no": run.run_no},
    )


def test_every_answer_to_a_confirmed_block_is_told_with_its_tier_and_share_of_dollars(rig: Rig) -> None:
    document = rig.ingest(*clauses(4)).document_id
    runs = [rig.plan(routing={"default_tier": tier}) for tier in ("small", "mid")]
    for run in runs:
        rig.finish(run)
    _confirm(rig, runs[1], clauses(4)[2], {"party": "tenant", "kind": "duty"})

    answers = PostgresReviews(rig.connection).answers(runs, violation=lambda _: None)

    assert [(a.run_id, a.block_uid, a.tier, a.model) for a in answers] == [
        (runs[0].run_id, f"{document}:2", "small", "anthropic/claude-haiku-5-5"),
        (runs[1].run_id, f"{document}:2", "mid", "anthropic/claude-sonnet-5-5"),
    ]
    values = values_for(clauses(4)[2], runs[0].schema.properties)
    assert [a.staged for a in answers] == [values, values]
    assert [a.confirmed for a in answers] == [None, {"party": "tenant", "kind": "duty"}]
    paid = [float(rig.one("select usd from ledger where run_no = %(r)s", r=run.run_no)) for run in runs]
    # One call asked all four blocks.
    assert [a.usd for a in answers] == [pytest.approx(usd / 4) for usd in paid]
    assert {(a.facts.block_type, a.facts.language, a.facts.schema.task) for a in answers} == {
        ("paragraph", "und", "obligations")
    }
    assert all("something_found" in a.doubts for a in answers)


def test_a_tier_is_charged_for_its_own_answers_only(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run = rig.plan(routing={"rules": [{"id": "unsure", "two_pass": {}}]})
    rig.finish(run)
    _confirm(rig, run, clauses(2)[0], {})
    (answer,) = PostgresReviews(rig.connection).answers([run], violation=lambda _: None)
    paid = "select sum(l.usd) from ledger l join call using (call_no) join pack p using (pack_no) where asks = 'answer' and p.tier = %(t)s"
    assert answer.usd == pytest.approx(
        float(rig.one(paid, t=answer.tier))
        / rig.one(
            "select count(*) from pack_block join pack using (pack_no) where asks = 'answer' and tier = %(t)s",
            t=answer.tier,
        )
    )
    assert rig.one("select count(*) from ledger") > 1


def test_a_violation_of_the_schema_is_among_the_doubts(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    run = rig.plan()
    rig.finish(run)
    _confirm(rig, run, clauses(1)[0], {})
    (answer,) = PostgresReviews(rig.connection).answers([run], violation=lambda _: "kind: it is wrong")
    assert "schema" in answer.doubts


def test_runs_without_a_confirmed_block_have_no_reviewed_answers(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run = rig.plan()
    rig.finish(run)
    assert PostgresReviews(rig.connection).answers([run], violation=lambda _: None) == []


ANN = Reviewer(name="ann", at=datetime(2026, 11, 26, 12, tzinfo=UTC), note="I read it")


def _answered(rig: Rig, n: int = 3) -> tuple[Run, list[str]]:
    document = rig.ingest(*clauses(n)).document_id
    run = rig.plan()
    rig.finish(run)
    return run, [f"{document}:{i}" for i in range(n)]


def _summary(rig: Rig, run: Run) -> dict[str, Any]:
    return PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).summary(run)


def _overlays(rig: Rig, run: Run) -> list[tuple[Any, ...]]:
    found = rig.connection.execute(
        "select status, error_class, staged is not null as s, confirmed from overlay where run_no = %s order by ordinal",
        [run.run_no],
    )
    return [tuple(row.values()) for row in found.fetchall()]


def _reviews(rig: Rig) -> list[tuple[Any, ...]]:
    found = rig.connection.execute(
        "select verdict, reviewer, note, old_answer, new_answer from review order by review_no"
    )
    return [tuple(row.values()) for row in found.fetchall()]


def test_a_confirmed_answer_stands_as_the_model_gave_it_and_says_who_confirmed_it(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)

    assert reviews.confirm(run, ANN, uids[:1]) == 1
    assert reviews.confirm(run, ANN, uids[:1]) == 0, "a second time changes nothing"

    values = values_for(clauses(3)[0], run.schema.properties)
    assert _overlays(rig, run) == [
        ("confirmed", None, True, values),
        ("ai_complete", None, True, None),
        ("ai_complete", None, True, None),
    ]
    assert _reviews(rig) == [("confirmed", "ann", "I read it", values, values)]
    assert _summary(rig, run)["violations"] == 0


def test_all_answers_of_a_run_are_confirmed_at_once(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    reviews.reject(run, ANN, uids[:1])

    assert reviews.confirm(run, ANN) == 2
    assert [status for status, *_ in _overlays(rig, run)] == ["failed", "confirmed", "confirmed"]


def test_a_rejected_answer_stands_for_nothing_and_the_next_run_asks_its_block_alone(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    reviews.confirm(run, ANN, uids[1:2])

    assert reviews.reject(run, ANN, uids[1:]) == 2

    assert _overlays(rig, run)[1:] == [("failed", "rejected", False, None)] * 2
    assert _summary(rig, run)["violations"] == 0
    again = rig.plan()
    rig.finish(again)
    outcomes = _summary(rig, again)["outcomes"]
    assert (outcomes["reused"], outcomes["ai_complete"], _summary(rig, again)["calls"]) == (1, 2, 1)


def test_a_correction_stands_instead_of_the_answer_and_the_next_run_reuses_it(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    right = {"party": "tenant", "kind": "duty"}
    seen: list[Mapping[str, Any] | None] = []

    def edit(answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
        seen.append(answer)
        return right

    assert reviews.correct(run, ANN, uids[0], edit) == right

    values = values_for(clauses(3)[0], run.schema.properties)
    assert seen == [values]
    assert _overlays(rig, run)[0] == ("confirmed", None, True, right)
    assert _reviews(rig) == [("corrected", "ann", "I read it", values, right)]
    again = rig.plan()
    rig.finish(again)
    assert rig.one("select staged from overlay where run_no = %(r)s order by ordinal limit 1", r=again.run_no) == right


def test_a_rejected_answer_that_is_then_corrected_still_teaches_what_the_model_said(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    reviews.reject(run, ANN, uids[:1])
    reviews.correct(run, ANN, uids[0], lambda answer: {} if answer is None else pytest.fail("it was rejected"))

    (answer,) = reviews.answers([run], violation=lambda _: None)
    assert (answer.staged, answer.confirmed) == (values_for(clauses(3)[0], run.schema.properties), {})
    assert _summary(rig, run)["violations"] == 0


def test_where_the_model_gave_no_usable_answer_a_person_can(rig: Rig) -> None:
    rig.provider.script = not_json
    run, uids = _answered(rig, 1)
    assert _overlays(rig, run)[0][0] == "failed"

    PostgresReviews(rig.connection).correct(run, ANN, uids[0], lambda _: {"party": "tenant"})

    assert _overlays(rig, run)[0] == ("confirmed", None, False, {"party": "tenant"})
    assert _summary(rig, run)["violations"] == 0
    assert PostgresReviews(rig.connection).answers([run], violation=lambda _: None) == []


def test_blocks_are_told_in_document_order_by_state(rig: Rig) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    reviews.confirm(run, ANN, uids[1:2])
    told = list(reviews.blocks(run, [OverlayStatus.AI_COMPLETE]))
    assert [r["block_uid"] for r in told] == [uids[0], uids[2]]
    assert [(r["tier"], r["model"]) for r in told] == [("mid", "anthropic/claude-sonnet-5-5")] * 2
    assert [r["answer"] for r in reviews.blocks(run, [OverlayStatus.CONFIRMED])] == [
        values_for(clauses(3)[1], run.schema.properties)
    ]


@pytest.mark.parametrize("uid", ["nothing:0", "nothing", "x:99999999999", ":"])
def test_of_several_blocks_one_that_is_not_in_the_run_leaves_all_as_they_were(rig: Rig, uid: str) -> None:
    run, uids = _answered(rig)
    reviews = PostgresReviews(rig.connection)
    with pytest.raises(NotFound, match=f"block '{uid}' is not in run {run.run_id}"):
        reviews.confirm(run, ANN, [uids[0], uid])
    with pytest.raises(NotFound):
        reviews.reject(run, ANN, [uids[0], uid])
    assert [status for status, *_ in _overlays(rig, run)] == ["ai_complete"] * 3
    assert _reviews(rig) == []


def test_a_skipped_block_has_no_answer_to_review(rig: Rig) -> None:
    document = rig.ingest("* * *", *clauses(1), types={"* * *": BlockType.DIVIDER}).document_id
    run = rig.plan()
    rig.finish(run)
    reviews = PostgresReviews(rig.connection)
    for act in (
        lambda: reviews.confirm(run, ANN, [f"{document}:0"]),
        lambda: reviews.reject(run, ANN, [f"{document}:0"]),
        lambda: reviews.correct(run, ANN, f"{document}:0", lambda _: {}),
    ):
        with pytest.raises(InvalidInput, match=r"is skipped by rule .*: there is no answer to review"):
            act()


def test_every_review_is_kept(rig: Rig) -> None:
    run, uids = _answered(rig, 1)
    PostgresReviews(rig.connection).confirm(run, ANN, uids)
    for statement in (b"update review set note = ''", b"delete from review", b"truncate review"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            rig.connection.execute(statement)
