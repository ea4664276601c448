"""Whatever can be refused is refused before anything is written; what is planned is planned once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.assembly import collections_on
from tokenopt_pipeline.domain.documents import IngestOutcome
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, PriceUnknown, SchemaInvalid
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.stages.plan import RunRequest, plan_run
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages import rig as rig_module
from tokenopt_pipeline_tests.stages.rig import OneSpec, Rig, clauses

UNPRICED = {"model": "anthropic/claude-of-tomorrow"}


def refused(rig: Rig, request: RunRequest, error: type[InvalidInput], message: str) -> None:
    """Planning refuses the request and writes nothing."""
    before = rig.states()
    with pytest.raises(error, match=message):
        rig.plan(request)
    assert rig.states() == before


def test_a_collection_that_does_not_exist_is_refused(rig: Rig) -> None:
    refused(rig, rig.request(), NotFound, "collection 'contracts' does not exist")


def test_a_collection_without_blocks_is_refused(rig: Rig) -> None:
    rig.ingest()
    refused(rig, rig.request(), InvalidInput, "has no blocks, so there is nothing to ask")


def test_a_model_outside_the_table_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.ingest(*clauses(1))
    monkeypatch.setattr(rig_module, "OneSpec", lambda **_: ModelTable())
    refused(rig, rig.request(routing=UNPRICED), NotFound, "claude-of-tomorrow is not in the model table")
    refused(rig, rig.request(routing={"model": "acme/one"}), NotFound, "provider 'acme' is unknown")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        pytest.param({}, "has no known list price; run.allow_unknown_price", id="not allowed"),
        pytest.param(
            {"allow_unknown_price": True, "budget_usd": 5}, r"so a budget of \$5 cannot be kept", id="with a budget"
        ),
    ],
)
def test_a_model_without_a_price_is_refused(rig: Rig, run: Mapping[str, object], message: str) -> None:
    rig.ingest(*clauses(1))
    refused(rig, rig.request(routing=UNPRICED, run=run), PriceUnknown, message)


def test_a_model_without_a_price_runs_when_the_policy_allows_it(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    assert rig.plan(routing=UNPRICED, run={"allow_unknown_price": True}).state == "open"


def test_a_schema_that_is_no_json_schema_is_refused(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    schema = a_schema_document(properties={"party": {"type": "text"}}, required=[])
    refused(rig, rig.request(schema=schema), SchemaInvalid, "obligations is not a JSON Schema")


def test_batches_are_refused_where_nobody_takes_them_by_planning_and_predicting_alike(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    server = {"base_url": "http://127.0.0.1:9/v1"}
    request = rig.request(mode="async", routing={"model": "mine/local"}, providers={"mine": server})
    refused(rig, request, InvalidInput, "mode async: batches are offered by anthropic, openai, google")
    with pytest.raises(InvalidInput, match="mode async"):
        rig.predict(request)


@pytest.mark.parametrize(
    ("asked", "hours", "mode"),
    [("async", 0, "async"), ("auto", 24, "sync"), ("auto", 47, "sync"), ("auto", 48, "auto")],
)
def test_conversations_with_tools_go_in_batches_where_there_is_time_for_two(
    rig: Rig, asked: str, hours: float, mode: str
) -> None:
    rig.ingest(*clauses(1))
    bridge = {"enabled": True, "servers": {"own": {"builtin": True, "tools": ["get_block_batch"]}}}
    assert rig.plan(rig.request(bridge=bridge, mode=asked, batches={"deadline_h": hours})).mode == mode


def test_a_run_covers_all_blocks_in_the_order_of_document_names_in_shards(rig: Rig) -> None:
    rig.ingest(*clauses(4), name="b")
    rig.ingest("First of all.", name="a")

    run = rig.plan(run={"shard_blocks": 2})

    assert (run.n_blocks, run.n_shards, run.state) == (5, 3, "open")
    spans = rig.rows("select first_ordinal, end_ordinal from shard order by shard_no")
    assert [tuple(s.values()) for s in spans] == [(0, 2), (2, 4), (4, 5)]
    assert rig.rows("select first_ordinal from run_document order by 1") == [{"first_ordinal": 0}, {"first_ordinal": 1}]


def test_the_same_request_gives_the_unfinished_run_and_writes_nothing(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    first = rig.plan()
    before = rig.states()

    assert rig.plan() == first
    assert rig.states() == before


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"schema": a_schema_document(required=["kind", "party"])}, id="schema"),
        pytest.param({"packing": {"pack_size": 3}}, id="policy"),
        pytest.param({"kind": RunKind.LIVE}, id="kind"),
    ],
)
def test_another_question_is_another_run(rig: Rig, changes: dict[str, Any]) -> None:
    rig.ingest(*clauses(3))
    assert rig.plan().run_id != rig.plan(rig.request(**changes)).run_id


def test_a_finished_run_is_not_taken_up_again(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    first = rig.plan()
    rig.finish(first)

    assert rig.plan().run_id != first.run_id


def test_a_stored_run_is_found_as_it_was_planned(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    schema = a_schema_document(properties={"z": {"type": "string"}, "a": {"type": "string"}}, required=["z"])
    request = rig.request(schema=schema, retries={"max_attempts": 2}, run={"budget_usd": "0.10"})

    run = rig.plan(request)

    assert run.schema == request.schema
    assert list(run.schema.properties) == ["z", "a"]
    assert run.policy == request.resolved.policy
    assert run.policy_hash == request.resolved.policy_hash


def test_six_sessions_that_plan_the_same_at_once_get_one_run(rig: Rig, database_url: str) -> None:
    rig.ingest(*clauses(20))

    def plan(number: int) -> Run:
        with connect(database_url) as connection:
            return replace(rig, connection=connection, _runs=100 * number).plan(run={"shard_blocks": 3})

    with ThreadPoolExecutor(6) as sessions:
        runs = list(sessions.map(plan, range(6)))

    assert len({r.run_id for r in runs}) == 1
    assert rig.one("select count(*) from run") == 1
    assert rig.one("select count(*) from shard") == runs[0].n_shards == 7
    assert rig.one("select count(*) from run_document") == 1


class SlowReader:
    """A collection store that lets somebody else ingest between planning's question and the run's creation."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._store = collections_on(rig.connection)

    def document_ids(self, collection: str) -> list[tuple[str, int]]:
        found = self._store.document_ids(collection)
        self._rig.ingest("Somebody else's block.", name="another")
        return found

    def knows(self, content_id: str) -> bool:
        return self._store.knows(content_id)

    def add_document(self, **_: Any) -> IngestOutcome:
        raise AssertionError("planning ingests nothing")


def test_a_document_that_is_ingested_while_a_run_is_planned_is_refused_or_covered(rig: Rig) -> None:
    rig.ingest(*clauses(3))
    request = rig.request()
    with pytest.raises(InvalidInput, match="was changed while the run was planned"):
        plan_run(
            request,
            run_id="run-a",
            collections=SlowReader(rig),
            runs=rig.line().runs,
            models=OneSpec(model=rig.model),
            prices=ListPrices(),
            validators=rig.line().validators,
            tokenizer=rig.tokenizer,
            now=rig.clock.now(),
        )
    assert rig.one("select count(*) from run") == 0


@pytest.mark.parametrize(
    ("asked", "hours", "mode"), [("sync", 48, "sync"), ("async", 0, "async"), ("auto", 0, "sync"), ("auto", 24, "auto")]
)
def test_a_run_is_auto_only_where_some_pack_may_go_in_a_batch(rig: Rig, asked: str, hours: float, mode: str) -> None:
    rig.ingest(*clauses(1))
    assert rig.plan(rig.request(mode=asked, batches={"deadline_h": hours})).mode == mode


def test_every_pack_of_an_auto_run_says_why_it_goes_as_it_does(rig: Rig) -> None:
    rig.ingest(*clauses(4))
    batches = {"deadline_h": 24, "min_packs": 3}
    for size, mode, reason in (
        (1, "async", "4 packs go there, and answers may take 24 h"),
        (2, "sync", "Only 2 packs"),
    ):
        request = rig.request(mode="auto", batches=batches, packing={"pack_size": size})
        run = rig.plan(request)
        line, shard = rig.line(), Shard(run_no=run.run_no, shard_no=0)
        line.decide(run, shard)
        line.pack(run, shard)
        packs = rig.rows("select mode, route_reason from pack where run_no = %(n)s", n=run.run_no)
        assert {p["mode"] for p in packs} == {mode}
        assert all(reason in p["route_reason"] for p in packs)
        assert rig.predict(request).modes["anthropic/claude-sonnet-5-5"].name == mode


def test_a_prediction_in_batches_costs_half(rig: Rig) -> None:
    rig.ingest(*clauses(4))
    sync, batched = (rig.predict(rig.request(mode=mode)).usd for mode in ("sync", "async"))
    assert sync is not None
    assert batched == sync / 2
