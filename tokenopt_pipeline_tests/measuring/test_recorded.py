"""Recorded cells: real models' answers go through the line, are right and paid for as recorded, and stay in their own columns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from tokenopt_pipeline.domain.measurements import CellKey, Row, compare
from tokenopt_pipeline.measuring import recorded
from tokenopt_pipeline.measuring.bench import ABLATION, Benchmark, Documents, run_benchmark
from tokenopt_pipeline.measuring.comparison import Comparison, as_csv, as_markdown
from tokenopt_pipeline.measuring.recorded_packs import RecordedPacks
from tokenopt_pipeline.measuring.replaying import read_packs
from tokenopt_pipeline.measuring.scenarios import SCENARIOS
from tokenopt_pipeline.measuring.workloads import load_workload

_BLOCKS = 10


@pytest.fixture(scope="module")
def recording(shared: Path) -> recorded.Recording:
    workload = load_workload("bfcl", shipped=Path(), data=shared / "data").first(_BLOCKS)
    assert workload.recording is not None
    return workload.recording


@pytest.mark.usefixtures("on_the_stand")
def test_real_answers_are_right_and_cost_as_recorded_and_the_cheap_model_is_asked_first(
    shared_documents: Documents, recording: recorded.Recording
) -> None:
    keys = [CellKey(workload="bfcl", scenario=name, blocks=_BLOCKS) for name in ("baseline", "escalation", "reuse")]
    measured = run_benchmark(Benchmark(keys=tuple(keys)), shared_documents)
    rows = {row.scenario: row for row in compare(measured.cells, measured.marks)}
    # Nothing was recorded of reuse: it has no row, and the source says so.
    assert set(rows) == {"baseline", "escalation"}
    assert measured.sources["bfcl"].endswith("nothing was recorded of tiers other than escalation, routing")
    dear = [block.answers[recorded.MID] for block in recording.blocks]
    cheap = [block.answers[recorded.SMALL] for block in recording.blocks]
    baseline, escalation = rows["baseline"], rows["escalation"]
    assert (baseline.kind, escalation.kind) == ("recorded", "recorded")
    assert baseline.usd == pytest.approx(sum(answer.usd for answer in dear))
    assert baseline.counts["calls"] == _BLOCKS
    assert set(baseline.blocks_by_model) == {recorded.MID}
    # What the dear model wrote and nobody can use is a failed block, and wrong.
    assert baseline.score is not None
    failed = baseline.outcomes.get("failed", 0)
    assert sum(a.score for a in dear) - failed <= baseline.score * _BLOCKS <= sum(a.score for a in dear)
    asked_twice = escalation.counts["calls"] - _BLOCKS
    assert 0 < asked_twice < _BLOCKS
    assert escalation.usd is not None
    assert escalation.usd > sum(answer.usd for answer in cheap)
    assert escalation.usd < sum(answer.usd for answer in dear)
    assert escalation.score_change == pytest.approx((escalation.score or 0) - baseline.score)
    assert (baseline.violations, escalation.violations) == (0, 0)
    assert all(cell.counts.get("input_uncached") is None for cell in measured.cells)
    _stands_in_its_own_columns(list(rows.values()))


def _stands_in_its_own_columns(rows: list[Row]) -> None:
    invented = replace(rows[0], workload="shipped", kind="simulated", usd=0.5, score=None, agreement=1.0)
    table = list(csv.DictReader(as_csv([*rows, invented]).splitlines()))
    for line in table[:-1]:
        assert (line["usd_simulated"], line["usd_live"], line["agreement"]) == ("", "", "")
        assert float(line["usd_recorded"]) > 0
        assert float(line["score"]) > 0
    assert (table[-1]["usd_simulated"], table[-1]["usd_recorded"], table[-1]["agreement"]) == ("0.5", "", "1.0")
    comparison = Comparison(commit="abc", seed=0, rows=(rows[0], invented), sources={"bfcl": "here", "shipped": "here"})
    lines = [line for line in as_markdown(comparison) if line.startswith("| ")]
    assert len({line.count("|") for line in lines}) == 1
    assert f"| — | ${rows[0].usd:.4f} | — |" in "\n".join(lines)
    assert "| $0.5000 | — | — |" in "\n".join(lines)


def test_a_fitted_table_never_saw_the_half_that_is_replayed(recording: recorded.Recording) -> None:
    assert recording.policies["routing"]["routing"]["rules"]
    assert {"routing", "escalation"} == set(recording.policies)
    policy = recording.policy(["routing", "escalation"], base_url="http://nowhere")
    # Nothing is recorded above the dear model, so that no other model is ever asked.
    asked = {model for models in policy["routing"]["models"].values() for model in models}
    assert {recorded.model_of(model) for model in asked} == {recorded.SMALL, recorded.MID}


def test_packs_are_read_at_the_size_that_the_policy_asks_with(shared: Path) -> None:
    packs = load_workload("rte_packs", shipped=Path(), data=shared / "data").first(100).packs
    assert packs is not None
    alone, packed = read_packs(packs, SCENARIOS["baseline"]), read_packs(packs, SCENARIOS["worker_batching"])
    assert isinstance(alone, dict)
    assert isinstance(packed, dict)
    assert (alone["counts"]["calls"], packed["counts"]["calls"]) == (100, 7)  # packs of 16
    right = [sum(outcome["score"] for outcome in found["outcomes"]) for found in (alone, packed)]
    assert 80 < right[1] < right[0] < 100


def test_a_pack_size_beyond_what_was_recorded_is_not_available() -> None:
    packs = RecordedPacks(scores={1: (1.0,), 4: (0.5,)})
    assert (packs.at(1), packs.at(3), packs.at(5)) == (1, 4, None)
    assert read_packs(packs, SCENARIOS["worker_batching"]) == "packs of 16 were not recorded, nor larger ones"


def test_recorded_tiers_can_be_taken_out_of_everything() -> None:
    assert "everything_without_escalation" in {key.scenario for key in ABLATION if key.workload == "bfcl"}
