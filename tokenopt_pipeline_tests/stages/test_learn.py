"""What calls were billed teaches the next run, and a run keeps what it was planned with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.assembly import RunTables, models_under
from tokenopt_pipeline.domain.learning import Learned, SeenPrefix, TokenCorrection
from tokenopt_pipeline.domain.requests import ModelResponse
from tokenopt_pipeline.domain.routing import parse_model_ref
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline.stages.plan import learn
from tokenopt_pipeline_tests.factories import a_model, a_policy
from tokenopt_pipeline_tests.stages.rig import OneSpec, Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import ScriptedProvider

MODEL = "anthropic/claude-sonnet-5-5"


class Dearer(ScriptedProvider):
    """Bills a fifth more input than was expected."""

    def complete(self, request: Any, *, timeout_s: float) -> ModelResponse:
        response = ScriptedProvider.complete(self, request, timeout_s=timeout_s)
        usage = replace(response.usage, input_uncached=round(response.usage.input_uncached * 1.2))
        return replace(response, usage=usage)


def learned_of(rig: Rig, **request: Any) -> Learned:
    return learn(rig.request(**request), calls=PostgresLearning(rig.connection))


@pytest.fixture
def taught(rig: Rig) -> Rig:
    """After a run of six calls that were all billed a fifth more than expected."""
    rig.model = a_model()
    rig.provider = Dearer()
    rig.ingest(*clauses(6))
    rig.finish(rig.plan(packing={"pack_size": 1}))
    return rig


def test_a_model_that_bills_more_is_expected_to_bill_more(taught: Rig) -> None:
    correction = learned_of(taught).tokens[MODEL]
    assert correction.scale == pytest.approx(1.2, abs=0.01)
    assert correction.calls == 6


def test_simulated_and_live_calls_never_teach_each_other(taught: Rig) -> None:
    assert learned_of(taught, kind=RunKind.LIVE) == Learned()


def test_calls_of_the_same_schema_go_before_those_of_others_and_any_before_none(taught: Rig) -> None:
    other = {"ref": "other", "type": "object", "properties": {"a": {"type": "string"}}}
    assert learned_of(taught, schema=other).tokens[MODEL].calls == 6
    assert learned_of(taught, routing={"model": "openai/gpt-6-luna"}) == Learned()


def test_a_run_keeps_what_it_was_planned_with_whatever_is_learnt_later(taught: Rig) -> None:
    taught.ingest(*(f"{c} More." for c in clauses(3)), collection="later")
    learned = learned_of(taught, collection="later")
    run = taught.plan(taught.request(collection="later"), learned=learned)
    assert run.learned == learned
    assert taught.line().runs.find(run.run_id).learned == learned
    # The same inputs again are the same run, with what it knew.
    again = taught.plan(taught.request(collection="later"), learned=Learned())
    assert (again.run_id, again.learned) == (run.run_id, learned)

    ref = parse_model_ref(MODEL)
    expected = ModelTable().spec(ref).token_ratio * learned.tokens[MODEL].scale
    assert RunTables().models(run).spec(ref).token_ratio == pytest.approx(expected)


def test_what_is_learnt_is_learnt_against_the_table_and_not_against_what_was_learnt_before(rig: Rig) -> None:
    rig.model = a_model(token_ratio=2.0, as_shipped=(1.0, 300))
    rig.ingest(*clauses(1))
    run, shard, line = rig.packed()
    line.collect(run, shard)
    row = rig.rows("select assumed_input, table_input from ledger")[0]
    assert row["table_input"] - 300 == pytest.approx((row["assumed_input"] - 300) / 2, abs=1)


def test_a_policy_that_says_how_a_model_counts_is_not_corrected() -> None:
    learned = Learned(tokens={MODEL: TokenCorrection(scale=2.0, shift=0.0, tail=None, calls=9)})
    policy = a_policy(models={MODEL: {"token_ratio": 1.0, "token_ratio_guard": 1.1}})
    assert models_under(policy, learned).spec(parse_model_ref(MODEL)).token_ratio == 1.0
    shipped = ModelTable().spec(parse_model_ref(MODEL))
    assert models_under(a_policy(), learned).spec(parse_model_ref(MODEL)).token_ratio == shipped.token_ratio * 2


def test_answers_teach_how_long_answers_are_for_the_same_schema_and_form_only(rig: Rig) -> None:
    rig.ingest(*clauses(40))
    rig.finish(rig.plan(packing={"pack_size": 8}))

    lengths = learned_of(rig).answers_of(parse_model_ref(MODEL))
    assert {length.answers for length in lengths.values()} == {40}
    output = rig.one("select sum(output) from ledger")
    assert 40 * lengths["paragraph"].expected(10) == pytest.approx(output, rel=0.05)
    assert rig.one("select sum(answer_tokens) from model_output") == pytest.approx(output, rel=0.05)

    assert learned_of(rig, packing={"output_form": "plain"}).answers == {}
    assert learned_of(rig, kind=RunKind.LIVE).answers == {}
    other = {"ref": "other", "type": "object", "properties": {"a": {"type": "string"}}}
    assert learned_of(rig, schema=other).answers == {}


def test_packs_are_sized_with_what_was_learnt_and_say_so(rig: Rig) -> None:
    rig.ingest(*clauses(40))
    policy: dict[str, Any] = {"packing": {"max_output_tokens": 1_000}, "reuse": {"enabled": False}}
    rig.finish(rig.plan(**policy))
    # The schema's estimate is 225 tokens an answer, of which four fit.
    assert rig.one("select count(*) from pack") == 10
    assert "could pass the 1,000 tokens of output" in rig.one("select reason from pack order by pack_no limit 1")

    run = rig.plan(rig.request(**policy), learned=learned_of(rig, **policy))
    rig.finish(run)
    packs = rig.rows("select reason from pack where run_no = %(n)s order by pack_no", n=run.run_no)
    assert len(packs) == 3
    assert "more is not allowed by the policy's packing.pack_size" in packs[0]["reason"]
    assert "learnt from 40 answers" in packs[0]["reason"]


def test_the_very_prefix_is_learnt_as_it_was_billed_and_no_other(rig: Rig) -> None:
    rig.model = a_model(cache_minimum_tokens=1)
    rig.ingest(*clauses(12))
    rig.finish(rig.plan(packing={"pack_size": 2}))

    def prefixes(**request: Any) -> Any:
        calls = PostgresLearning(rig.connection)
        return learn(rig.request(**request), calls=calls, models=OneSpec(model=rig.model)).prefixes

    shared = rig.one("select max(cache_read) from ledger")
    assert prefixes()[MODEL] == SeenPrefix(tokens=shared, line_ratio=1.0, calls=6)
    assert prefixes(packing={"output_form": "plain"}) == {}
    assert prefixes(kind=RunKind.LIVE) == {}
