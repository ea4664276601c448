"""A prediction writes nothing and comes true when nothing goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tokenopt_pipeline.adapters.anthropic import AnthropicProvider
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.adapters.readers import read_document
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.sandbox.in_process import running_sandbox
from tokenopt_pipeline.stages.plan import learn
from tokenopt_pipeline_tests.factories import a_model
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.scripted_provider import ScriptedProvider


def billed(rig: Rig, run: Run) -> TokenUsage:
    classes = "input_uncached", "cache_write_5m", "cache_write_1h", "cache_read", "output"
    sums = ", ".join(f"coalesce(sum({c}), 0)::int as {c}" for c in classes)
    (found,) = rig.rows(f"select {sums} from ledger where run_no = %(run)s", run=run.run_no)
    return TokenUsage(**found)


def test_a_prediction_writes_nothing_and_asks_nothing(rig: Rig) -> None:
    rig.ingest(*clauses(25))
    before = rig.states()

    rig.predict(rig.request())

    assert rig.states() == before
    assert rig.provider.asked == []


@pytest.mark.parametrize("cache_minimum_tokens", [1, 100_000], ids=["cached", "uncached"])
def test_calls_and_input_tokens_come_true_when_nothing_goes_wrong(rig: Rig, cache_minimum_tokens: int) -> None:
    rig.model = a_model(cache_minimum_tokens=cache_minimum_tokens)
    rig.ingest(*clauses(43), "* * *", *clauses(5), types={"* * *": BlockType.DIVIDER})
    request = rig.request(packing={"pack_size": 4})

    predicted = rig.predict(request)
    run = rig.plan(request)
    rig.finish(run)

    actual = billed(rig, run)
    assert (predicted.blocks, predicted.kept, predicted.reused) == (49, 43, 5)
    assert predicted.skipped_by_rule == {"divider": 1}
    assert predicted.packs == len(rig.provider.asked) == 11
    assert predicted.usage.input_uncached == actual.input_uncached
    assert predicted.usage.cache_write_5m == actual.cache_write_5m
    assert predicted.usage.cache_read == actual.cache_read
    assert actual.output <= predicted.usage.output
    assert (actual.cache_read > 0) == (cache_minimum_tokens == 1)


def test_dollars_are_an_upper_estimate_and_stay_below_the_baseline(rig: Rig) -> None:
    rig.ingest(*clauses(40))
    request = rig.request()

    predicted = rig.predict(request)
    run = rig.plan(request)
    rig.finish(run)

    spent = rig.one("select sum(usd) from ledger")
    assert predicted.usd is not None
    assert predicted.usd_baseline is not None
    assert spent <= predicted.usd < predicted.usd_baseline


def test_a_warm_prediction_comes_true_within_three_percent(rig: Rig) -> None:
    rig.model = a_model(cache_minimum_tokens=1)
    policy: dict[str, Any] = {"run": {"shard_blocks": 30}, "packing": {"pack_size": 8}}
    rig.ingest(*clauses(60), collection="earlier")
    rig.finish(rig.plan(rig.request(collection="earlier", **policy)))
    request = rig.request(reuse={"enabled": False}, **policy)
    learned = learn(request, calls=PostgresLearning(rig.connection))
    rig.ingest(*(f"{text} Again." for text in clauses(100)))

    predicted = rig.predict(request, learned=learned)
    run = rig.plan(request, learned=learned)
    # Its cache is cold: what the earlier run wrote has expired.
    rig.provider = ScriptedProvider()
    rig.finish(run)

    spent = rig.one("select sum(usd) from ledger where run_no = %(n)s", n=run.run_no)
    low, expected, high = (getattr(predicted.forecast, name) for name in ("low", "expected", "high"))
    assert low.usd <= expected.usd <= high.usd
    assert float(abs(expected.usd - spent)) <= 0.03 * float(spent)
    assert expected.calls == rig.one("select count(*) from pack where run_no = %(n)s", n=run.run_no)
    route = next(route for route in predicted.routes if route.is_chosen)
    assert (route.tier, route.mode, route.learnt_from, route.forecast) == ("mid", "sync", 60, predicted.forecast)


def test_what_the_other_mode_would_cost_is_told_beside_the_runs_own(rig: Rig) -> None:
    rig.ingest(*clauses(20))
    predicted = rig.predict(rig.request())
    sync, in_batches = predicted.routes
    assert (sync.mode, sync.is_chosen) == ("sync", True)
    assert (in_batches.mode, in_batches.is_chosen) == ("async", False)
    assert predicted.forecast == sync.forecast
    assert in_batches.forecast.expected.usd == (sync.forecast.expected.usd or 0) / 2


def test_a_price_that_is_unknown_makes_dollars_unknown_and_not_zero(rig: Rig) -> None:
    rig.ingest(*clauses(4))
    unpriced: dict[str, Any] = {
        "routing": {"model": "anthropic/claude-of-tomorrow"},
        "run": {"allow_unknown_price": True},
    }
    predicted = rig.predict(rig.request(**unpriced))
    assert (predicted.packs, predicted.usd, predicted.usd_baseline) == (1, None, None)


def test_what_was_answered_before_is_predicted_to_be_reused(rig: Rig) -> None:
    rig.ingest(*clauses(10))
    rig.finish(rig.plan())
    rig.ingest(*clauses(12))

    predicted = rig.predict(rig.request())

    assert (predicted.kept, predicted.reused, predicted.packs) == (2, 10, 1)


def test_assumed_input_is_what_was_billed(rig: Rig) -> None:
    """The scripted provider bills exactly the model's ratios, so every call's assumption must be exact."""
    rig.ingest(*clauses(9))
    rig.finish(rig.plan(packing={"pack_size": 4}))

    assumed = rig.rows("select assumed_input, input_uncached + cache_write_5m + cache_read as billed from ledger")
    assert [r["assumed_input"] for r in assumed] == [r["billed"] for r in assumed]


def test_the_sandbox_bills_input_within_a_quarter_of_the_prediction_for_the_demo(rig: Rig) -> None:
    """On a model with the ratio that the sandbox's rule of four characters per token was made after."""
    rig.tokenizer = O200kTokenizer()
    rig.model = ModelTable().spec(ModelRef(provider="anthropic", model="claude-sonnet-4-6"))
    demo = Path(__file__).parents[2] / "demo" / "collection"
    for name in ("supply-agreement.md", "press-release.md", "incident-report.txt"):
        blocks = read_document(name, (demo / name).read_bytes()).blocks
        rig.ingest(*(b.text for b in blocks), name=name)
    request = rig.request(routing={"model": "anthropic/claude-sonnet-4-6"})
    predicted, run = rig.predict(request), rig.plan(request)
    with running_sandbox() as sandbox:
        line = rig.line(provider=AnthropicProvider(api_key="sandbox", base_url=sandbox.anthropic_url))
        rig.finish(run, line=line)

    actual = billed(rig, run)
    assert set(rig.statuses(run)) <= {"ai_complete", "skipped"}
    assert predicted.packs == rig.one("select count(*) from ledger")
    assert predicted.usage.input_total == pytest.approx(actual.input_total, rel=0.25)
