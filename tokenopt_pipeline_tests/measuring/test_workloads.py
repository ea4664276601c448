"""Workloads are the same bytes every time and have the shape they state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenopt_pipeline.adapters.files import shipped_path
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.schemas import parse_schema
from tokenopt_pipeline.measuring.bench import ABLATION, DEFAULT_BLOCKS, GROWTH
from tokenopt_pipeline.measuring.scenarios import NOTHING_ON, SCENARIOS, TIERS, alone, everything, without
from tokenopt_pipeline.measuring.workloads import WORKLOADS, load_workload, reference_workload

_SHIPPED = shipped_path("demo") / "collection"


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_the_same_every_time_and_its_schema_is_one(name: str, shared: Path) -> None:
    one, other = (load_workload(name, shipped=_SHIPPED, data=shared / "data") for _ in range(2))
    assert one.content_digest == other.content_digest
    assert len(one.first(5).blocks) == 5
    assert one.first(5).content_digest != one.content_digest
    assert len(one.blocks) >= 29
    parse_schema(one.asked_with({}, reference=None), name=name)


def test_the_reference_workload_has_the_cost_models_shape() -> None:
    workload = reference_workload()
    assert {len(block.text) for block in workload.blocks} == {1300}
    assert len({block.text for block in workload.blocks}) == 200
    assert len(workload.schema["prompt_config"]["system_instructions"]) == 100_000


def test_people_marked_blocks_of_the_contracts_and_receipts(shared: Path) -> None:
    for name in ("cuad", "contract_nli", "sroie"):
        workload = load_workload(name, shipped=_SHIPPED, data=shared / "data").first(DEFAULT_BLOCKS[name])
        share = sum(bool(b.carries) for b in workload.blocks) / len(workload.blocks)
        assert 0.05 < share < 0.6, name


@pytest.mark.parametrize(("name", "probes"), [("style", 100), ("guide", 20)])
def test_a_reference_is_told_whole_or_looked_up(shared: Path, name: str, probes: int) -> None:
    workload = load_workload(name, shipped=_SHIPPED, data=shared / "data")
    assert len(workload.reference) > 20
    assert len(workload.probes) > probes
    assert {file for _, file in workload.probes} <= set(workload.reference)
    assert not {query for query, _ in workload.probes} & {block.text for block in workload.blocks}
    whole, found = workload.asked_with({}, reference=None), workload.asked_with({}, reference="guide")
    assert len(whole["prompt_config"]["system_instructions"]) > 80_000
    assert len(found["prompt_config"]["system_instructions"]) < 5_000
    assert found["references"] == ["guide"]


@pytest.mark.parametrize(("name", "message"), [("novels", "is none of"), ("cuad", "needs its documents")])
def test_a_workload_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        load_workload(name, shipped=_SHIPPED, data=None)


def test_a_tier_alone_switches_on_nothing_else() -> None:
    for tier in TIERS:
        policy = alone(tier).policy
        on = {s for s, members in policy.items() if members.get("enabled", False)}
        assert on <= set(tier.policy), tier.name
        assert {s: m for s, m in policy.items() if s not in tier.policy} == {
            s: dict(m) for s, m in NOTHING_ON.items() if s not in tier.policy
        }


def test_everything_without_a_tier_has_all_others() -> None:
    names = [tier.name for tier in TIERS]
    for name in names:
        assert [tier.name for tier in without(name).tiers] == [n for n in names if n != name]
    assert everything().mode == "async"
    assert SCENARIOS["everything"].uses_reference


def test_ablation_and_growth_name_scenarios_that_exist() -> None:
    assert {key.scenario for key in (*ABLATION, *GROWTH)} <= set(SCENARIOS)
