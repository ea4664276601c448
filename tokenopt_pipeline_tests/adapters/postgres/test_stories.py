"""One block's whole story, and the export of all of them."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
from tokenopt_pipeline.domain.errors import NotFound, ProviderUnavailable
from tokenopt_pipeline_tests.stages import scripted_provider as answers
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import Asked, Reply, values_for


def test_a_block_tells_every_pack_and_every_try_until_its_outcome(rig: Rig) -> None:
    bad = clauses(4)[3]

    def script(asked: Asked) -> Reply:
        if asked.number == 1:
            return ProviderUnavailable("overloaded")
        return answers.wrong_type(asked) if len(asked.texts) == 4 else None

    rig.provider.script = script
    document = rig.ingest(*clauses(4)).document_id
    run = rig.plan()
    rig.finish(run)

    story = PostgresStories(rig.connection).of_block(run, f"{document}:3")

    assert (story["block_uid"], story["text"], story["source_names"]) == (f"{document}:3", bad, "contract")
    assert (story["status"], story["verdict"], story["decision_rule"]) == ("ai_complete", "keep", "kept")
    assert story["staged"] == values_for(bad, run.schema.properties)
    told = [(c["pack_blocks"], c["try_no"], c["state"], c["error_class"], c["finding"]) for c in story["calls"]]
    assert told == [
        (4, 1, "failed", "ProviderUnavailable", None),
        (4, 2, "answered", None, "invalid"),
        (1, 1, "answered", None, "valid"),
    ]
    assert [c["attempts_before"] for c in story["calls"]] == [0, 0, 1]
    assert [c["usd"] is None for c in story["calls"]] == [True, False, False]


def test_a_reused_block_names_the_block_it_repeats(rig: Rig) -> None:
    document = rig.ingest("Same.", "Same.").document_id
    run = rig.plan()
    rig.finish(run)

    story = PostgresStories(rig.connection).of_block(run, f"{document}:1")

    assert (story["verdict"], story["canonical_run"], story["canonical_block"]) == (
        "reuse",
        run.run_id,
        f"{document}:0",
    )
    assert story["calls"] == []


def test_a_block_outside_the_run_is_not_found(rig: Rig) -> None:
    document = rig.ingest(*clauses(2)).document_id
    run = rig.plan()
    rig.finish(run)
    stories = PostgresStories(rig.connection)
    for uid in (f"{document}:2", f"{document}:-1", f"{document}:99999999999", document, "", ":", "nonsense:0"):
        with pytest.raises(NotFound, match=r"is not in run run1; `tokenopt export run1` lists the blocks"):
            stories.of_block(run, uid)


def test_the_export_has_every_block_in_order_with_its_outcome(rig: Rig) -> None:
    rig.provider.script = answers.on_text("Clause 1:", answers.refusing)
    rig.ingest(*clauses(3), " ", *clauses(1), name="b", title="The contract")
    rig.ingest("Earlier.", name="a")
    run = rig.plan()
    rig.finish(run)

    records = list(PostgresStories(rig.connection).export(run, confirmed_only=False))

    texts = ["Earlier.", *clauses(3), " ", clauses(1)[0]]
    assert [r["immutable"]["block"]["text"] for r in records] == texts
    extracted = [r["extracted"] for r in records]
    assert [e["status"] for e in extracted] == [
        "ai_complete", "ai_complete", "failed", "ai_complete", "skipped", "ai_complete",
    ]  # fmt: skip
    assert [e["data"] is None for e in extracted] == [False, False, True, False, True, False]
    assert (extracted[2]["error_class"], extracted[4]["rule"]) == ("refused", "blank")
    assert (extracted[5]["reused_from_run"], extracted[0]["reused_from_run"]) == (run.run_id, None)
    assert (extracted[0]["kind"], extracted[0]["model"]) == ("simulated", "anthropic/claude-sonnet-5-5")
    assert records[1]["immutable"]["document"]["title"] == "The contract"
    assert records[1]["immutable"]["block"]["uid"].endswith(":0")


def test_the_export_of_confirmed_values_leaves_the_models_out(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    run = rig.plan()
    rig.finish(run)
    rig.connection.execute(
        "update overlay set status = 'confirmed', confirmed = %s where ordinal = 1", [Jsonb({"kind": "duty"})]
    )
    stories = PostgresStories(rig.connection)

    assert [r["extracted"]["data"] for r in stories.export(run, confirmed_only=True)] == [None, {"kind": "duty"}]
    assert [r["extracted"]["data"] for r in stories.export(run, confirmed_only=False)] == [
        values_for(clauses(2)[0], run.schema.properties),
        {"kind": "duty"},
    ]


def test_a_run_that_has_not_begun_exports_its_blocks_as_pending(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    records = PostgresStories(rig.connection).export(rig.plan(), confirmed_only=False)
    assert [r["extracted"]["status"] for r in records] == ["pending", "pending"]
