"""With a budget and a fitted table the planner picks tiers by what a dollar buys, the same every time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.prices import ListPrices
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.knowledge import Knowledge, RunReference
from tokenopt_pipeline.domain.retrieval import ContextKind, decide_before_searching, limits_of
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.stages.afford import tiers_within_budget, within_budget
from tokenopt_pipeline.stages.contexts import Known
from tokenopt_pipeline.stages.plan import RunRequest
from tokenopt_pipeline_tests.stages.rig import OneSpec, Rig, clauses

PLAIN, ITEMS, CODE = clauses(6), [f"Item {i} costs {i + 3} euros." for i in range(6)], ["run --all"]
#: A dollar buys a lot for list items, little for paragraphs, and nobody measured code.
MEASURED: dict[str, Any] = {
    "source": "A test.",
    "models": {},
    "tasks": [
        {
            "task": "obligations",
            "block_type": "paragraph",
            "n": 100,
            "tiers": {"small": {"quality": 0.8, "usd": 0.001}, "mid": {"quality": 0.82, "usd": 0.01}},
            "check": {"doubted": 0.5, "wrong_doubted": 0.4, "wrong_undoubted": 0.0, "next_wrong_doubted": 0.1},
        },
        {
            "task": "obligations",
            "block_type": "list_item",
            "n": 100,
            "tiers": {"small": {"quality": 0.3, "usd": 0.001}, "mid": {"quality": 0.9, "usd": 0.01}},
        },
    ],
}
ROUTING: dict[str, Any] = {"default_tier": "mid", "measured": MEASURED}


@pytest.fixture
def mixed(rig: Rig) -> Rig:
    types = {**dict.fromkeys(ITEMS, BlockType.LIST_ITEM), **dict.fromkeys(CODE, BlockType.CODE_BLOCK)}
    rig.ingest(*PLAIN, *ITEMS, *CODE, types=types)
    return rig


def asking(rig: Rig, usd: Decimal | None, **routing: Any) -> RunRequest:
    money: dict[str, Any] = {} if usd is None else {"run": {"budget_usd": str(round(usd, 6))}}
    return rig.request(routing={**ROUTING, **routing}, prefilter={"code_without_field": False}, **money)


def fitted(rig: Rig, request: RunRequest) -> RunRequest:
    return within_budget(
        request,
        planning=PostgresPlanning(rig.connection),
        models=OneSpec(model=rig.model),
        prices=ListPrices(),
        validators=JsonSchemaValidators(),
        tokenizer=rig.tokenizer,
    )


def usd(rig: Rig, request: RunRequest) -> Decimal:
    found = rig.predict(request).usd
    assert found is not None
    return found


def test_rules_that_fit_the_budget_stand(mixed: Rig) -> None:
    request = asking(mixed, 2 * usd(mixed, asking(mixed, None)))
    assert fitted(mixed, request) is request


@pytest.mark.parametrize("usd_budget", [None, Decimal("0.000001")])
def test_without_a_table_or_a_budget_nothing_is_chosen(mixed: Rig, usd_budget: Decimal | None) -> None:
    request = asking(mixed, usd_budget, **({} if usd_budget is None else {"measured": None}))
    assert fitted(mixed, request) is request


def test_a_dollar_goes_where_it_buys_most(mixed: Rig) -> None:
    whole = usd(mixed, asking(mixed, None))
    chosen = fitted(mixed, asking(mixed, whole * Decimal("0.8")))
    assert tiers_within_budget(chosen) == {"list_item": "mid", "paragraph": "small"}
    # What nobody measured keeps its rule.
    assert chosen.resolved.policy.routing.default_tier == "mid"
    assert usd(mixed, chosen) <= whole * Decimal("0.8")


def test_the_same_request_gives_the_same_choice_and_a_larger_budget_no_worse_one(mixed: Rig) -> None:
    whole = usd(mixed, asking(mixed, None))
    quality = {"small": 0, "mid": 1}
    before = -1
    for tenth in range(1, 11):
        request = asking(mixed, whole * tenth / 10)
        chosen = fitted(mixed, request)
        assert chosen == fitted(mixed, request)
        tiers = tiers_within_budget(chosen) or {"list_item": "mid", "paragraph": "mid"}
        score = sum(quality[tier] for tier in tiers.values())
        assert score >= before
        before = score
    assert before == 2


def test_references_that_packs_carry_are_in_what_a_tier_costs(mixed: Rig) -> None:
    def knowing(usd_budget: Decimal | None) -> RunRequest:
        """Ten times as long as the prompt, and always whole."""
        request = asking(mixed, usd_budget)
        reference = RunReference(name="guide", sources_digest="d", n_tokens=20_000, text_id="t", index_recipe=None)
        decided = decide_before_searching("critical", 1, [None], limits_of(request.resolved.policy.retrieval))
        assert decided is not None
        assert decided.kind is ContextKind.FULL
        known = Known(knowledge=Knowledge(references=(reference,)), texts={}, decided=decided)
        return replace(request, known=known)

    whole = usd(mixed, knowing(None))
    assert whole > 2 * usd(mixed, asking(mixed, None))

    chosen = fitted(mixed, knowing(whole * Decimal("0.8")))

    # Without them every tier would seem to fit, and the run would pass its budget.
    assert tiers_within_budget(chosen) == {"list_item": "small", "paragraph": "small"}
    assert usd(mixed, chosen) <= whole * Decimal("0.8")


def test_a_run_that_its_budget_routed_is_gone_on_with_and_explains_itself(mixed: Rig) -> None:
    whole = usd(mixed, asking(mixed, None))
    chosen = fitted(mixed, asking(mixed, whole * Decimal("0.8")))
    run = mixed.plan(chosen)
    # Half done, other blocks are left, and what remains would be chosen for otherwise.
    assert mixed.plan(fitted(mixed, asking(mixed, whole * Decimal("0.8")))).run_id == run.run_id
    line, shard = mixed.line(), Shard(run_no=run.run_no, shard_no=0)
    line.decide(run, shard)
    line.pack(run, shard)
    reasons = {
        r["route_rule"]: r["route_reason"] for r in mixed.rows("select distinct route_rule, route_reason from pack")
    }
    assert set(reasons) == {"within-budget-list_item", "within-budget-paragraph", "default"}
    assert "sends the block to tier small because its task is one of obligations" in reasons["within-budget-paragraph"]


def test_the_plan_says_what_checking_is_worth_from_measured_rates(mixed: Rig) -> None:
    request = asking(mixed, None, default_tier="small", escalation={"enabled": True})
    told = mixed.predict(request)
    plain = mixed.predict(asking(mixed, None, default_tier="small"))
    assert len(told.checks) == 3
    by_kind = "\n".join(told.checks)
    assert (
        "6 blocks answered by tier small, doubtful ones by tier mid: 50% were doubted of 100 measured. Checking"
        in by_kind
    )
    # 0.8 + 0.5 * (0.4 - 0.1) of right answers with the check, 0.82 always at mid.
    assert "quality +13.00 points" in by_kind
    assert by_kind.count("nobody measured how many are doubted") == 2
    # The doubted half of the paragraphs is in the dollars.
    assert told.usd is not None
    assert plain.usd is not None
    assert told.usd > plain.usd
    assert told.packs == plain.packs + 1


def test_two_passes_and_second_opinions_are_predicted_at_their_dearer_outcome(mixed: Rig) -> None:
    plain = mixed.predict(asking(mixed, None))
    two = mixed.predict(asking(mixed, None, rules=[{"id": "unsure", "two_pass": {}}]))
    assert two.packs > plain.packs
    assert two.usd is not None
    assert plain.usd is not None
    assert two.usd > plain.usd
    escalation = {"enabled": True, "second_opinion": "anthropic/claude-opus-5"}
    compared = mixed.predict(asking(mixed, None, default_tier="small", escalation=escalation, measured=None))
    assert compared.packs == 2 * mixed.predict(asking(mixed, None, default_tier="small")).packs
