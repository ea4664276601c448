"""Reviewed answers of several runs, each with its tier, its share of the dollars and its doubts."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.reviews import PostgresReviews
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import values_for


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
