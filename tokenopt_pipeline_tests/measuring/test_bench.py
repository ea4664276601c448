"""Benchmarks take scenarios through the real line, ask the product what it can do, and write the same bytes every time."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tokenopt_pipeline.domain.errors import FatalForRun, InvalidInput
from tokenopt_pipeline.domain.measurements import CellKey, Row, compare, timings
from tokenopt_pipeline.domain.runs import RunKind
from tokenopt_pipeline.measuring import asking
from tokenopt_pipeline.measuring.asking import Conditions, ability
from tokenopt_pipeline.measuring.bench import Benchmark, Documents, Measured, keys_for, run_benchmark
from tokenopt_pipeline.measuring.cell import CellOrder
from tokenopt_pipeline.measuring.reporting import report_on, write_report
from tokenopt_pipeline.measuring.scenarios import SCENARIOS, TIERS, Scenario
from tokenopt_pipeline.measuring.stand import Stand
from tokenopt_pipeline.measuring.workloads import short_document

pytestmark = pytest.mark.usefixtures("on_the_stand")


def _measured(documents: Documents, *names: str, workload: str = "short_29", blocks: int = 12) -> Measured:
    keys = tuple(CellKey(workload=workload, scenario=name, blocks=blocks) for name in names)
    return run_benchmark(Benchmark(keys=keys), documents)


def _rows(measured: Measured) -> dict[str, Row]:
    return {row.scenario: row for row in compare(measured.cells, measured.marks)}


def test_packs_need_fewer_calls_for_the_same_answers(documents: Documents) -> None:
    measured = _measured(documents, "baseline", "worker_batching")
    rows = _rows(measured)
    assert rows["baseline"].counts["calls"] == 12
    assert rows["worker_batching"].counts["calls"] == 1
    assert rows["worker_batching"].agreement == 1.0
    assert rows["worker_batching"].violations == 0
    assert (rows["worker_batching"].saved or 0) > 0.3
    for timing in timings(measured.cells):
        assert timing.wall_s is not None
        assert 0 < timing.wall_s < 60
        assert timing.block_p50_ms is not None
        assert timing.block_p50_ms >= 50  # the sandbox's latency
        assert timing.peak_rss_mb is not None
        assert 50 < timing.peak_rss_mb < 1000


def test_a_tier_that_the_product_refuses_is_left_out_of_everything_in_the_products_own_words() -> None:
    workload, under = short_document(), Conditions(kind=RunKind.SIMULATED)
    of_all = ability(SCENARIOS["everything"], workload, under)
    assert of_all.refusal is None
    assert of_all.left_out["retrieval"] == "the workload has no reference to look things up in"
    for tier in of_all.scenario.tiers + tuple(t for t in TIERS if t.name in of_all.left_out):
        # Alone it is refused for the very reason for which it is left out, or it can be measured.
        assert ability(SCENARIOS[tier.name], workload, under).refusal == of_all.left_out.get(tier.name)
    assert not {t.name for t in of_all.scenario.tiers} & set(of_all.left_out)


def test_a_tier_that_is_refused_beside_others_is_left_out_of_everything_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(scenario: Scenario, *_: object) -> str | None:
        names = {tier.name for tier in scenario.tiers}
        return "not in batches" if {"async_batch", "retrieval"} <= names else None

    monkeypatch.setattr(asking, "_refusal", refuse)
    can = ability(SCENARIOS["everything"], short_document(), Conditions(kind=RunKind.SIMULATED))
    assert (can.refusal, can.left_out) == (None, {"retrieval": "not in batches"})
    assert [tier.name for tier in can.scenario.tiers] == [tier.name for tier in TIERS if tier.name != "retrieval"]


def test_what_is_refused_is_a_row_with_its_reason(documents: Documents) -> None:
    row = _rows(_measured(documents, "retrieval", blocks=3))["retrieval"]
    assert row.not_available == "the workload has no reference to look things up in"
    assert row.usd is None


def test_the_same_commit_and_seed_write_the_same_bytes(documents: Documents, tmp_path: Path) -> None:
    # Of every way a run can go: side by side, in batches through the product's own command, and by what an index found.
    keys = keys_for(["prompt_caching", "routing"], ["shipped"], 6)
    keys += tuple(
        CellKey(workload="rules", scenario=name, blocks=3) for name in ("baseline", "async_batch", "retrieval")
    )
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        measured = run_benchmark(Benchmark(keys=keys, seed=7), documents)
        paths = write_report(folder, report_on(measured, seed=7, commit="abc"))
        written.append({path.name: path.read_bytes() for path in paths if path.name != "timings.json"})
    assert written[0] == written[1]
    assert {"comparison.json", "comparison.csv", "comparison.md", "cost-ladder-shipped.png"} <= set(written[0])
    assert written[0]["cost-ladder-shipped.png"].startswith(b"\x89PNG")
    rows = json.loads(written[0]["comparison.json"])["rows"]
    assert {row["cache"] for row in rows if row["scenario"] == "prompt_caching"} == {"cold", "warm"}
    assert all(row["kind"] == "simulated" for row in rows)
    cells = {(row["workload"], row["scenario"]): row for row in rows}
    assert cells["rules", "async_batch"]["counts"]["batches"] == 1
    assert cells["rules", "async_batch"]["saved"] > 0.4
    assert cells["rules", "retrieval"]["saved"] > 0.5
    assert len(cells["shipped", "routing"]["blocks_by_model"]) == 2


def test_repeats_count_the_same_whatever_their_order(documents: Documents) -> None:
    keys = keys_for(["worker_batching"], ["short_29"], 4)
    rows = [compare(run_benchmark(Benchmark(keys=keys, repeats=2, seed=seed), documents).cells, {}) for seed in (1, 2)]
    assert rows[0] == rows[1]
    assert all((row.repeats, row.repeats_identical) == (2, True) for row in rows[0])


def test_a_workload_without_its_documents_is_left_out_and_named(documents: Documents) -> None:
    measured = _measured(documents, "baseline", workload="cuad")
    assert measured.cells == ()
    assert measured.sources["cuad"].startswith("left out: workload cuad needs its documents")


def test_a_pre_filter_is_judged_by_the_answers_that_people_marked(shared_documents: Documents) -> None:
    rows = _rows(_measured(shared_documents, "baseline", "pre_filter", workload="cuad", blocks=60))
    assert rows["baseline"].lost == 0
    row = rows["pre_filter"]
    assert (row.marked or 0) > 5
    assert 0 <= (row.lost or 0) <= (row.marked or 0)
    assert row.outcomes["skipped"] > 0


def test_a_cell_that_breaks_says_why(stand: Stand, documents: Documents) -> None:
    order = CellOrder(
        scenario="baseline", workload="shipped", blocks=1, shipped=str(documents.shipped / "nowhere"), data=None
    )
    with pytest.raises(FatalForRun, match="nowhere"):
        stand.measure(order)


def test_a_model_that_nobody_knows_is_not_available(stand: Stand, documents: Documents) -> None:
    order = CellOrder(
        scenario="baseline",
        workload="short_29",
        blocks=1,
        shipped=str(documents.shipped),
        data=None,
        model="anthropic/no-such-model",
    )
    assert "no-such-model" in stand.measure(order)["refusal"]


def test_a_budget_ends_a_cell_before_it_is_exceeded(stand: Stand, documents: Documents) -> None:
    order = CellOrder(
        scenario="baseline",
        workload="short_29",
        blocks=12,
        shipped=str(documents.shipped),
        data=None,
        budget_usd="0.08",
    )
    found = stand.measure(order)
    assert "0.08" in found["stopped"]
    assert Decimal(str(found["counts"]["usd"])) <= Decimal("0.08")


@pytest.mark.parametrize(("scenarios", "workloads"), [(["packs"], ["shipped"]), (["baseline"], ["everything"])])
def test_an_unknown_scenario_or_workload_is_refused(scenarios: list[str], workloads: list[str]) -> None:
    with pytest.raises(InvalidInput, match="is none of"):
        keys_for(scenarios, workloads, None)
