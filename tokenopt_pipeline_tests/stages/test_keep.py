"""A long prefix is kept at a provider that rents storage for it: once per run, for as long as it is needed, in the books."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.google import GoogleProvider
from tokenopt_pipeline.adapters.model_table import ModelTable
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.assembly import Backend, line_on
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.domain.routing import ModelRef
from tokenopt_pipeline.domain.runs import Run, RunKind, Shard
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig, clauses

MODEL = "google/gemini-3.8-flash"
# Five thousand words of instructions: longer than the minimum of 4 096 tokens.
_SCHEMA = a_schema_document(prompt_config={"system_instructions": "Read with care. " * 1_500})
_POLICY: dict[str, Any] = {
    "routing": {"model": MODEL},
    "packing": {"pack_size": 1},
    "calls": {"concurrency": 1},
    "caching": {"implicit_hit_share": 0.0},
}


class Keeper:
    """Google's adapter, counting what it is asked to keep."""

    def __init__(self, provider: GoogleProvider) -> None:
        self.provider = provider
        self.said: list[str] = []
        self.refuses = False

    def keep(self, request: Any, *, ttl_s: float, timeout_s: float) -> tuple[str, int]:
        self.said.append("keep")
        if self.refuses:
            raise ProviderUnavailable("google answered 503: busy")
        return self.provider.keep(request, ttl_s=ttl_s, timeout_s=timeout_s)

    def prolong(self, name: str, *, ttl_s: float, timeout_s: float) -> None:
        self.said.append("prolong")
        self.provider.prolong(name, ttl_s=ttl_s, timeout_s=timeout_s)

    def forget(self, name: str, *, timeout_s: float) -> None:
        self.said.append("forget")
        self.provider.forget(name, timeout_s=timeout_s)


@pytest.fixture
def keeper(sandbox: Sandbox) -> Keeper:
    return Keeper(GoogleProvider(api_key="sandbox", base_url=sandbox.google_url))


def prepared(rig: Rig, keeper: Keeper, **policy: Any) -> tuple[Run, Line]:
    """A run of six blocks over three shards, whose line asks the sandbox."""
    rig.tokenizer = O200kTokenizer()
    rig.model = ModelTable().spec(ModelRef(provider="google", model="gemini-3.8-flash"))
    rig.ingest(*clauses(6))
    run = rig.plan(rig.request(schema=_SCHEMA, **{**_POLICY, "run": {"shard_blocks": 2}, **policy}))
    backend = Backend(providers={"google": keeper.provider}, kinds={"google": RunKind.SIMULATED}, key_variables={})
    line = line_on(rig.connection, backend)
    line.clock = rig.clock
    line.supply = OneSupply(model=rig.model, backend=backend, keeps=keeper)
    return run, line


def test_all_shards_read_one_prefix_that_is_given_back_at_the_end(rig: Rig, keeper: Keeper) -> None:
    run, line = prepared(rig, keeper)
    rig.finish(run, line=line)

    assert keeper.said == ["keep", "forget"]
    assert rig.statuses(run) == {"ai_complete": 6}
    reads = rig.rows("select cache_read from ledger")
    assert len(reads) == 6
    assert min(r["cache_read"] for r in reads) > 4_096
    (kept,) = rig.rows("select * from kept_prefix")
    assert (kept["state"], kept["tokens"]) == ("ended", reads[0]["cache_read"])
    # As plain input, and ten minutes of storage: 0.75 and 0.50 / 6 dollars per million tokens.
    assert kept["usd"] == pytest.approx(
        kept["tokens"] * (Decimal("0.75") + Decimal("0.50") / 6) / 1_000_000, abs=Decimal("1e-8")
    )
    assert kept["usd"] <= kept["usd_ceiling"] * Decimal("1.3")
    summary = PostgresSummaries(rig.connection, tables=OneSupply(model=rig.model)).summary(run)
    assert summary["kept_prefixes"] == 1
    assert summary["usd"] == pytest.approx(float(kept["usd"] + rig.one("select sum(usd) from ledger")))


def test_another_process_of_the_same_run_uses_what_the_first_has_made(rig: Rig, keeper: Keeper) -> None:
    run, line = prepared(rig, keeper)
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    other = replace(line, _collectors={}, windows={}, warmth={})
    for shard_no in (1, 2):
        other.whole(run, Shard(run_no=run.run_no, shard_no=shard_no))
    assert keeper.said == ["keep", "forget"]


def test_a_lease_is_prolonged_while_it_is_needed_and_its_price_added(rig: Rig, keeper: Keeper) -> None:
    run, line = prepared(rig, keeper)
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    first = rig.one("select usd from kept_prefix")
    rig.clock.advance(500)
    line.whole(run, Shard(run_no=run.run_no, shard_no=1))
    assert keeper.said == ["keep", "prolong"]
    assert rig.one("select usd from kept_prefix") > first


def test_a_provider_that_will_not_keep_it_gets_it_with_every_request(rig: Rig, keeper: Keeper) -> None:
    keeper.refuses = True
    run, line = prepared(rig, keeper)
    rig.finish(run, line=line)
    assert keeper.said == ["keep"]
    assert rig.statuses(run) == {"ai_complete": 6}
    (kept,) = rig.rows("select state, usd, error_message from kept_prefix")
    assert (kept["state"], kept["usd"]) == ("failed", 0)
    assert "503" in kept["error_message"]


def test_a_prefix_that_is_gone_before_its_time_is_made_anew_and_no_block_is_lost(rig: Rig, keeper: Keeper) -> None:
    run, line = prepared(rig, keeper)
    line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    keeper.provider.forget(rig.one("select name from kept_prefix"), timeout_s=5)
    line.whole(run, Shard(run_no=run.run_no, shard_no=1))
    assert keeper.said == ["keep", "keep"]
    assert rig.statuses(run) == {"ai_complete": 4}
    assert rig.one("select max(attempts_before) from pack_block") == 0


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param({"caching": {"keep_prefixes": False}}, id="off by policy"),
        pytest.param({"caching": {"implicit_hit_share": 1.0}}, id="found by itself"),
        pytest.param({"run": {"shard_blocks": 2, "budget_usd": "0.03"}}, id="no room in the budget"),
    ],
)
def test_nothing_is_rented_where_it_is_not_allowed_or_does_not_pay(
    rig: Rig, keeper: Keeper, policy: dict[str, Any]
) -> None:
    run, line = prepared(rig, keeper, **policy)
    with pytest.MonkeyPatch.context() as patch:
        if "budget_usd" in policy.get("run", {}):
            patch.setattr("tokenopt_pipeline.stages.keep.plan_keeping", dear)
        line.whole(run, Shard(run_no=run.run_no, shard_no=0))
    assert keeper.said == []
    assert rig.one("select count(*) from kept_prefix") == 0


def dear(**_: Any) -> Any:
    """A plan whose first lease is dearer than the budget."""
    from tokenopt_pipeline.domain.kept_prefixes import KeepingPlan

    return KeepingPlan(pays=True, reason="It pays.", lease_usd=Decimal(1))
