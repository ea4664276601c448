"""The verification report is generated, says PASS or FAIL per lock with its evidence, and shows every hand edit."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tokenopt_pipeline.domain.gates import parse_gates
from tokenopt_pipeline.domain.measurements import BlockOutcome, Cell, CellKey, compare, timings
from tokenopt_pipeline.measuring.verification import (
    DEFAULT_PATH,
    LOCKS,
    Verification,
    evidence_text,
    from_document,
    mode_rules,
    rendered,
    verify,
    write_verification,
)
from tokenopt_pipeline_tests.measuring.conftest import SMALL_GATES

_REPORT = Path(__file__).resolve().parents[2] / DEFAULT_PATH
_TOKENS = dict.fromkeys(("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output"), 10)


def _cell(scenario: str, usd: float, **changed: object) -> Cell:
    cell = Cell(
        key=CellKey(workload="short_29", scenario=scenario, blocks=6),
        kind="simulated",
        digest="d",
        counts={"calls": 6, "violations": 0, **_TOKENS},
        usd=usd,
        outcomes=tuple(BlockOutcome(status="ai_complete", answer={"field": n}) for n in range(6)),
        spent={"block_p50_ms": 51.0},
    )
    return replace(cell, **changed)  # type: ignore[arg-type]


def _verified(*cells: Cell) -> Verification:
    gates = parse_gates(tomllib.loads(SMALL_GATES))
    rows = compare(cells, {})
    return verify(gates, rows, timings(cells), {}, commit="abc", seed=0, modes=mode_rules())


def test_the_report_in_the_repository_is_what_its_evidence_renders_to() -> None:
    evidence = _REPORT.with_suffix(".json").read_text("utf-8")
    found = from_document(json.loads(evidence))
    assert _REPORT.read_text("utf-8") == rendered(found), "the report was edited by hand: run `tokenopt verify` instead"
    assert evidence == evidence_text(found), "the evidence was edited by hand: run `tokenopt verify` instead"


def test_an_edit_of_a_verdict_shows(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_verification(path, _verified(_cell("baseline", 1.0)))
    found = from_document(json.loads(path.with_suffix(".json").read_text()))
    assert rendered(found) == path.read_text()
    assert path.read_text().replace("FAIL", "PASS", 1) != rendered(found)


def test_there_are_eight_locks_and_what_was_not_measured_fails_its_own() -> None:
    found = _verified(_cell("baseline", 1.0), _cell("worker_batching", 0.5))
    assert [lock.name for lock in found.locks] == list(LOCKS)
    assert len(found.locks) == 8
    assert not found.passed
    failed = {lock.name: lock.evidence for lock in found.locks if not lock.passed}
    assert failed["retrieval"] == ("violations of retrieval on short_29 (6 blocks) is not measured.",)
    assert "lock retrieval failed." in failed["final output"]
    assert "no cell was repeated, so that nothing shows that results can be." in failed["benchmark"]


def test_a_tier_that_is_not_available_fails_its_lock_in_the_products_words() -> None:
    refused = _cell("retrieval", 0.0, refusal="no provider offers batches", outcomes=(), counts={})
    found = _verified(_cell("baseline", 1.0), refused)
    lock = next(lock for lock in found.locks if lock.name == "retrieval")
    assert (lock.passed, lock.kind) == (False, "—")
    assert "not available: no provider offers batches" in lock.evidence[0]
    assert "| retrieval | FAIL | — |" in rendered(found)


def test_a_lock_whose_gates_pass_passes_with_the_figures() -> None:
    found = _verified(_cell("baseline", 1.0), _cell("retrieval", 0.5), _cell("retrieval", 0.5))
    locks = {lock.name: lock for lock in found.locks}
    assert locks["retrieval"].passed
    assert locks["retrieval"].evidence == ("violations of retrieval on short_29 (6 blocks) is 0; allowed at most 0.",)
    assert (
        "1 cells were run 2 times and counted the same." not in locks["benchmark"].evidence
    )  # other cells are missing


@pytest.mark.parametrize("violations", [0, 2])
def test_one_block_without_its_outcome_fails_the_final_lock(violations: int) -> None:
    cell = _cell("baseline", 1.0, counts={"calls": 6, "violations": violations, **_TOKENS})
    evidence = _verified(cell).locks[-1].evidence
    assert ("2 blocks of baseline on short_29 have not exactly one outcome." in evidence) == bool(violations)


def test_what_counted_differently_when_it_was_repeated_fails_the_benchmark() -> None:
    cell = _cell("baseline", 1.0)
    found = _verified(cell, replace(cell, usd=1.1))
    lock = next(lock for lock in found.locks if lock.name == "benchmark")
    assert "baseline on short_29 counted differently when it was repeated." in lock.evidence


def test_the_modes_rules_are_the_policys_own() -> None:
    assert all(said for said in mode_rules().values())
