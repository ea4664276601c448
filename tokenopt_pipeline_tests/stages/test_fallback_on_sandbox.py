"""Every way a model can fail to answer leads to the declared next one, over real SDKs, and is stored, counted and told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.routing_stories import PostgresRoutingStories
from tokenopt_pipeline.domain.errors import (
    AuthenticationFailed,
    PriceUnknown,
    ProviderUnavailable,
    RateLimited,
    SpendLimitReached,
)
from tokenopt_pipeline.domain.runs import Run
from tokenopt_pipeline.sandbox.in_process import Sandbox
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.rig import Rig, clauses
from tokenopt_pipeline_tests.stages.vendors_rig import HAIKU, LUNA, SONNET, TERRA, Vendors, two_sandboxes


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[tuple[Sandbox, Sandbox]]:
    with two_sandboxes() as both:
        yield both


@pytest.fixture
def vendors(rig: Rig, sandboxes: tuple[Sandbox, Sandbox]) -> Vendors:
    for sandbox in sandboxes:
        sandbox.control.reset()
        sandbox.control.set_faults({})
    return Vendors(rig=rig, troubled=sandboxes[0], healthy=sandboxes[1])


def mid(*models: str, **routing: Any) -> dict[str, Any]:
    return {"models": {"mid": list(models)}, **routing}


def calls(sandbox: Sandbox) -> Any:
    return sandbox.control.stats()["calls"]


def assert_all_answered(vendors: Vendors, run: Run, blocks: int) -> dict[str, Any]:
    summary = vendors.summary(run)
    assert (summary["state"], summary["violations"]) == ("complete", 0)
    assert summary["outcomes"]["ai_complete"] == summary["blocks"] == blocks
    # Every answered call has its price, whoever answered.
    assert summary["usd"] is not None
    return summary


@pytest.mark.parametrize(
    ("fault", "obstacle", "said", "error"),
    [
        ("overloaded_529", "over_limits", "is over its limits", "RateLimited"),
        ("server_error_500", "unavailable", "is not available", "ProviderUnavailable"),
        ("connection_reset", "unavailable", "is not available", "ProviderUnavailable"),
        ("rate_limit_429", "over_limits", "is over its limits", "RateLimited"),
        ("spend_limit_429", "over_limits", "is over its limits", "SpendLimitReached"),
        ("usage_limit_400", "over_limits", "is over its limits", "SpendLimitReached"),
    ],
)
def test_a_model_that_does_not_answer_is_left_for_the_next_after_its_tries(
    vendors: Vendors, fault: str, obstacle: str, said: str, error: str
) -> None:
    vendors.rig.ingest(*clauses(6))
    vendors.troubled.control.set_faults({"rates": {fault: 1.0}})
    run = vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 1})
    summary = assert_all_answered(vendors, run, 6)
    assert summary["routing"]["fallbacks"] == {obstacle: 6}
    assert vendors.packs(run)[6:] == [("answer", "fallback", TERRA, 1, obstacle)] * 6
    told = vendors.told(run, 0)
    assert f"{SONNET} {said}, so {TERRA} is asked, hop 1 of at most 2." in told
    assert "instead of pack" in told
    failed = vendors.rig.rows("select distinct error_class from call where state = 'failed'")
    assert failed == [{"error_class": error}]
    # The model is given up for all packs together, and not tried anew for each.
    assert vendors.rig.one("select count(*) from call where state = 'failed'") <= 6
    assert PostgresRoutingStories(vendors.rig.connection).of(run, shard_no=0) == summary["routing"]


@pytest.mark.parametrize("fault", ["refuse", "block_prompt"])
def test_a_block_that_a_model_declines_goes_to_the_next_and_the_others_stay(vendors: Vendors, fault: str) -> None:
    vendors.rig.ingest(*clauses(5), "A poisonous clause about 12 euros.")
    vendors.troubled.control.set_faults(
        {"scripted": [{"when_text_contains": "poisonous", "fault": fault, "times": None}]}
    )
    run = vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 3})
    summary = assert_all_answered(vendors, run, 6)
    assert summary["routing"]["fallbacks"] == {"refused": 1}
    assert f"{SONNET} is refusing to answer, so {TERRA} is asked, hop 1 of at most 2." in vendors.told(run, 5)
    models = vendors.rig.rows("select distinct l.model from overlay o join ledger l using (call_no) order by 1")
    assert [r["model"] for r in models] == [SONNET, TERRA]
    assert (
        vendors.rig.one(
            "select l.model from overlay o join ledger l using (call_no) join block b using (block_no) where b.text like '%%poison%%'"
        )
        == TERRA
    )


def test_a_model_that_its_provider_does_not_know_is_left_at_once(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(3))
    unknown = "anthropic/claude-of-tomorrow"
    run = vendors.ran(
        routing=mid(unknown, SONNET), models={unknown: {"price": {"input": 1, "output": 5}}}, packing={"pack_size": 1}
    )
    assert assert_all_answered(vendors, run, 3)["routing"]["fallbacks"] == {"unknown": 3}
    assert f"{unknown} is not known to its provider, so {SONNET} is asked" in vendors.told(run, 0)


def test_a_block_over_a_model_s_context_goes_to_one_with_more_room(vendors: Vendors) -> None:
    vendors.rig.ingest("A long clause. " + "Rent is due on the third day. " * 900, "A short clause.")
    run = vendors.ran(
        providers=vendors.local,
        models={"local/local-model": {"price": {"input": 1, "output": 1}}},
        routing=mid("local/local-model", TERRA),
    )
    summary = assert_all_answered(vendors, run, 2)
    assert summary["routing"]["fallbacks"] == {"over_limits": 1}
    assert f"local/local-model is over its limits, so {TERRA} is asked" in vendors.told(run, 0)


def test_a_model_without_a_price_is_never_asked_where_a_price_is_needed(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    run = vendors.ran(providers=vendors.local, routing=mid("local/local-model", SONNET))
    summary = assert_all_answered(vendors, run, 2)
    assert summary["routing"]["fallbacks"] == {"unpriced": 2}
    assert vendors.packs(run) == [("answer", "planned", SONNET, 1, "unpriced")]
    assert f"local/local-model is without a known price, so {SONNET} is asked" in vendors.told(run, 0)


def test_without_any_priced_model_nothing_is_planned(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    with pytest.raises(PriceUnknown, match="model local/local-model has no known list price"):
        vendors.ran(
            providers=vendors.local,
            routing=mid("local/local-model", SONNET, fallback={"allowed_providers": ["openai"]}),
        )
    assert vendors.rig.one("select count(*) from run") == 0


def test_a_whole_chain_is_gone_along_hop_by_hop(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    vendors.troubled.control.set_faults({"rates": {"server_error_500": 1.0}})
    run = vendors.ran(routing=mid(SONNET, HAIKU, LUNA))
    assert assert_all_answered(vendors, run, 2)["routing"]["fallbacks"] == {"unavailable": 4}
    assert vendors.packs(run) == [
        ("answer", "planned", SONNET, 0, None),
        ("answer", "fallback", HAIKU, 1, "unavailable"),
        ("answer", "fallback", LUNA, 2, "unavailable"),
    ]


def test_the_last_hop_is_the_last_even_where_another_model_would_answer(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    vendors.troubled.control.set_faults({"rates": {"server_error_500": 1.0}})
    models = mid(SONNET, HAIKU, LUNA, fallback={"max_hops": 1})
    with pytest.raises(ProviderUnavailable):
        vendors.ran(routing=models)
    assert calls(vendors.healthy) == 0
    assert vendors.rig.one("select max(hops) from pack") == 1
    # The hop that was made is kept: the run goes on with the model it stopped at.
    vendors.troubled.control.set_faults({})
    run = vendors.ran(routing=models)
    assert assert_all_answered(vendors, run, 2)["routing"]["fallbacks"] == {"unavailable": 2}
    assert vendors.rig.rows("select distinct model from ledger") == [{"model": HAIKU}]


def test_a_block_that_every_model_within_the_hops_declines_fails_and_says_so(vendors: Vendors) -> None:
    vendors.rig.ingest("A fine clause.", "A poisonous clause.")
    vendors.troubled.control.set_faults(
        {"scripted": [{"when_text_contains": "poisonous", "fault": "refuse", "times": None}]}
    )
    run = vendors.ran(routing=mid(SONNET, HAIKU, LUNA, fallback={"max_hops": 1}))
    summary = vendors.summary(run)
    assert (summary["outcomes"]["ai_complete"], summary["failed_by_class"]) == (1, {"refused": 1})
    assert summary["violations"] == 0
    assert "1 hops are used" in vendors.told(run, 1)
    assert calls(vendors.healthy) == 0


def test_a_fallback_without_a_price_is_passed_over_in_the_middle_of_a_run(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    vendors.troubled.control.set_faults({"rates": {"server_error_500": 1.0}})
    run = vendors.ran(providers=vendors.local, routing=mid(SONNET, "local/local-model", TERRA))
    assert_all_answered(vendors, run, 2)
    assert [model for _, _, model, _, _ in vendors.packs(run)] == [SONNET, TERRA]
    told = vendors.told(run, 0)
    assert f"{SONNET} is not available" in told
    assert "local/local-model is without a known price" in told


def test_a_dearer_tier_that_a_doubt_leads_to_has_its_own_fallbacks(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(2))
    unknown = "anthropic/claude-of-tomorrow"
    field = next(iter(a_schema_document()["properties"]))
    never = {"all": [{"field": field, "is": "present"}, {"field": field, "is": "empty"}]}
    run = vendors.ran(
        schema={**a_schema_document(), "checks": [{"id": "never", "then": never}]},
        models={unknown: {"price": {"input": 1, "output": 5}}},
        routing={
            "default_tier": "small",
            "models": {"small": [HAIKU], "mid": [unknown, TERRA]},
            "escalation": {"enabled": True},
        },
    )
    summary = assert_all_answered(vendors, run, 2)
    assert summary["routing"]["fallbacks"] == {"unknown": 2}
    assert summary["routing"]["escalated"] == {"mid": 2}
    assert [(cause, model) for _, cause, model, _, _ in vendors.packs(run)] == [
        ("planned", HAIKU),
        ("escalation", unknown),
        ("fallback", TERRA),
    ]


@pytest.mark.parametrize(
    "fallback",
    [
        pytest.param({"cross_provider": False}, id="no crossing"),
        pytest.param({"allowed_providers": ["anthropic"]}, id="not allowed"),
        pytest.param({"max_hops": 0}, id="no hops"),
    ],
)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("server_error_500", ProviderUnavailable),
        ("rate_limit_429", RateLimited),
        ("spend_limit_429", SpendLimitReached),
    ],
)
def test_a_wall_is_never_crossed_and_the_run_stops_instead(
    vendors: Vendors, fallback: dict[str, Any], fault: str, error: type[Exception]
) -> None:
    vendors.rig.ingest(*clauses(2))
    vendors.troubled.control.set_faults({"rates": {fault: 1.0}})
    with pytest.raises(error):
        vendors.ran(routing=mid(SONNET, TERRA, fallback=fallback))
    assert calls(vendors.healthy) == 0
    # Nothing is lost: the same run goes on when the provider answers again.
    vendors.troubled.control.set_faults({})
    run = vendors.ran(routing=mid(SONNET, TERRA, fallback=fallback))
    assert assert_all_answered(vendors, run, 2)["routing"] == {}


def test_a_refusal_behind_a_wall_fails_its_block_and_says_so(vendors: Vendors) -> None:
    vendors.rig.ingest("A fine clause.", "A poisonous clause.")
    vendors.troubled.control.set_faults(
        {"scripted": [{"when_text_contains": "poisonous", "fault": "refuse", "times": None}]}
    )
    run = vendors.ran(routing=mid(SONNET, TERRA, fallback={"cross_provider": False}))
    summary = vendors.summary(run)
    assert (summary["outcomes"]["ai_complete"], summary["failed_by_class"]) == (1, {"refused": 1})
    assert "the policy forbids to cross from anthropic to openai" in vendors.told(run, 1)
    assert calls(vendors.healthy) == 0


def test_a_key_that_is_refused_is_for_a_person_to_mend_and_no_reason_to_pay_somebody_else(vendors: Vendors) -> None:
    from tokenopt_pipeline.adapters.anthropic import AnthropicProvider

    vendors.rig.ingest(*clauses(1))
    line = vendors.line()
    backend = line.supply.provider(vendors.plan(vendors.rig.request(routing=mid(SONNET, TERRA))))
    backend.providers["anthropic"] = AnthropicProvider(  # type: ignore[attr-defined]
        api_key="invalid", base_url=vendors.troubled.anthropic_url
    )
    with pytest.raises(AuthenticationFailed):
        vendors.ran(routing=mid(SONNET, TERRA), line=line)
    assert calls(vendors.healthy) == 0


def test_a_run_that_dies_between_the_last_try_and_the_fallback_goes_on_with_it(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(4))
    vendors.troubled.control.set_faults({"rates": {"server_error_500": 1.0}})
    line = vendors.line()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    line.calls.leave = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 2}, line=line)
    assert calls(vendors.healthy) == 0
    run = vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 2})
    assert assert_all_answered(vendors, run, 4)["routing"]["fallbacks"] == {"unavailable": 4}
    # Nobody was asked twice for one answer.
    assert calls(vendors.healthy) == vendors.rig.one("select count(*) from ledger") == 2


def test_a_fallback_asked_before_a_crash_is_not_decided_again(vendors: Vendors) -> None:
    vendors.rig.ingest(*clauses(4))
    vendors.troubled.control.set_faults({"rates": {"server_error_500": 1.0}})
    line = vendors.line()
    begin, begun = line.calls.begin, []

    def dies(pack: Any, **rest: Any) -> int:
        if pack.origin.hops:
            raise KeyboardInterrupt
        begun.append(pack.pack_no)
        return begin(pack, **rest)

    line.calls.begin = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 4}, line=line)
    before = vendors.rig.one("select count(*) from pack")
    run = vendors.ran(routing=mid(SONNET, TERRA), packing={"pack_size": 4})
    assert_all_answered(vendors, run, 4)
    assert vendors.rig.one("select count(*) from pack") == before == 2
