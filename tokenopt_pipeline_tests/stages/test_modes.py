"""Mode auto takes the way that costs a run less, with what either way keeps of shared prefixes, and ends like any other."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.batch_rig import MODELS, VENDORS, BatchRig
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.rounds_rig import BRIDGE, RoundsRig, open_host, opens

HAIKU = ModelRef(provider="anthropic", model="claude-haiku-5-5")
LONG = a_schema_document() | {"description": "Read every clause with care, and weigh each of its words. " * 300}
AUTO: dict[str, Any] = {"mode": "auto", "packing": {"pack_size": 1}, "routing": {"model": str(HAIKU)}}


def modes(rig: Rig, **asked: Any) -> tuple[str, str]:
    """(The mode of a run's packs, and the reason), which its prediction has named before."""
    request = rig.request(**{**AUTO, **asked})
    run, line = rig.plan(request), rig.line()
    shard = Shard(run_no=run.run_no, shard_no=0)
    line.decide(run, shard)
    line.pack(run, shard)
    packs = rig.rows("select mode, route_reason from pack where run_no = %(n)s", n=run.run_no)
    [(mode, reason)] = {(p["mode"], p["route_reason"]) for p in packs}
    assert rig.predict(request).modes[str(HAIKU)].name == mode
    return mode, reason


@pytest.fixture
def packs(rig: Rig) -> Rig:
    """A rig with twenty packs of one block each."""
    rig.model = ModelTable().spec(HAIKU)
    rig.ingest(*clauses(20))
    return rig


def test_a_long_prefix_that_calls_read_goes_in_no_batch_that_would_pay_it_in_full(packs: Rig) -> None:
    # Within a day no second batch fits, so that nobody goes first.
    mode, reason = modes(packs, schema=LONG, batches={"deadline_h": 24})
    assert mode == "sync"
    assert "In batches they would cost $" in reason
    assert modes(packs, schema=LONG, batches={"deadline_h": 48})[0] == "async"


@pytest.mark.parametrize("results_tokens", [100, 2_500])
@pytest.mark.parametrize("words", [0, 60, 200, 300])
@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("deadline_h", [48, 96])
def test_the_way_that_is_taken_is_the_one_that_the_plan_shows_to_cost_less(
    packs: Rig, *, words: int, tools: bool, deadline_h: int, results_tokens: int
) -> None:
    schema = a_schema_document() | {"description": "Read every clause with care. " * words}
    asked: dict[str, Any] = {**AUTO, "bridge": BRIDGE} if tools else AUTO
    expected: dict[str, Any] = {"retrieval": {"budget_tokens": results_tokens}, "batches": {"deadline_h": deadline_h}}
    predicted = packs.predict(packs.request(schema=schema, **asked, **expected))

    usd = {route.mode: route.forecast.expected.usd for route in predicted.routes}
    assert usd["sync"] is not None
    assert usd["async"] is not None
    assert predicted.modes[str(HAIKU)].name == ("async" if usd["async"] < usd["sync"] else "sync")


def test_half_the_price_is_less_where_there_is_nothing_to_read(packs: Rig) -> None:
    assert modes(packs, batches={"deadline_h": 24})[0] == "async"
    assert modes(packs, schema=LONG, batches={"deadline_h": 24}, caching={"enabled": False})[0] == "async"


@pytest.mark.parametrize(("hours", "first"), [(48, 4), (72, 1)])
def test_one_request_goes_first_only_where_its_batch_leaves_time_for_a_conversation(
    rig: Rig, sandbox: Sandbox, database_url: str, *, hours: int, first: int
) -> None:
    sandbox.control.reset()
    rig.model = ModelTable().spec(HAIKU)
    with open_host() as host:
        batches = BatchRig(rig=rig, sandbox=sandbox, vendor="anthropic", open_tools=opens(database_url, host))
        rounds = RoundsRig(batches=batches)
        rounds.models_call("echo", turns=1)
        run, shard = rounds.plan(schema=LONG, batches={"deadline_h": hours})
        # Every batch takes as long as it may.
        batches.finish(run, shard, wait_s=24 * 3600)

    assert rounds.rounds()[0] == (1, first)
    assert rounds.calls() == {"continued": 4, "answered": 4}
    assert rig.statuses(run) == {"ai_complete": 16}


@pytest.mark.parametrize(("hours", "mode"), [(24, "sync"), (96, "async")])
@pytest.mark.parametrize("vendor", ["anthropic", "openai"])
def test_an_auto_run_with_tools_ends_with_one_outcome_per_block_either_way(
    rig: Rig, sandbox: Sandbox, database_url: str, *, vendor: str, hours: int, mode: str
) -> None:
    sandbox.control.reset()
    with open_host() as host:
        batches = BatchRig(rig=rig, sandbox=sandbox, vendor=vendor, open_tools=opens(database_url, host))
        rounds = RoundsRig(batches=batches)
        rounds.models_call("echo", turns=1)
        # One batch fits into a day, and a conversation takes two.
        run, shard = rounds.plan(mode="auto", batches={"deadline_h": hours, "min_packs": 2})
        batches.finish(run, shard, wait_s=600)

    assert run.mode == ("sync" if mode == "sync" else "auto")
    assert {r["mode"] for r in rig.rows("select mode from ledger")} == {mode}
    assert (len(rounds.rounds()) > 0) is (mode == "async")
    assert rounds.calls() == {"continued": 4, "answered": 4}
    assert rig.statuses(run) == {"ai_complete": 16}
    found = batches.figures(run)
    assert (found["lost"], found["failed"], found["doubled"]) == (0, 0, 0)


#: Vendor -> a model dearer than the rig's own.
LARGER = {"anthropic": "claude-opus-5-5", "openai": "gpt-6.1-sol", "google": "gemini-4-argon"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_auto_run_with_tools_sends_some_packs_in_batches_and_others_in_calls(
    rig: Rig, sandbox: Sandbox, database_url: str, vendor: str
) -> None:
    sandbox.control.reset()
    few = [f"{text} And so it goes on, at length and in other words, for all of them." for text in clauses(4)]
    rig.ingest(*clauses(16), *few)
    small, large = f"{vendor}/{MODELS[vendor]}", f"{vendor}/{LARGER[vendor]}"
    routing = {
        "models": {"small": [small], "large": [large]},
        "default_tier": "small",
        "rules": [{"id": "long", "tier": "large", "min_block_tokens": 20}],
    }
    with open_host() as host:
        batches = BatchRig(rig=rig, sandbox=sandbox, vendor=vendor, open_tools=opens(database_url, host))
        rounds = RoundsRig(batches=batches)
        rounds.models_call("echo", turns=1)
        run, shard = rounds.plan(mode="auto", routing=routing, batches={"deadline_h": 96, "min_packs": 2})
        batches.finish(run, shard, wait_s=600)

    by_model = {
        (r["model"], r["mode"], r["n"]) for r in rig.rows("select model, mode, count(*) as n from pack group by 1, 2")
    }
    assert by_model == {(small, "async", 4), (large, "sync", 1)}
    assert rounds.calls() == {"continued": 5, "answered": 5}
    assert rig.statuses(run) == {"ai_complete": 20}
    found = batches.figures(run)
    assert (found["lost"], found["failed"], found["doubled"]) == (0, 0, 0)
