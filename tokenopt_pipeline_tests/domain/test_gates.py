"""A gate fails when its number leaves its bound or was not measured, and says which number that is."""

from __future__ import annotations

from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.gates import Drift, judge, moved, parse_gates
from tokenopt_pipeline.domain.measurements import BlockOutcome, Cell, CellKey, Row, Timing, compare, timings

_GATE = {
    "tier": "packs",
    "scenario": "baseline",
    "workload": "w",
    "blocks": 1,
    "measure": "usd",
    "at_most": 2,
    "reason": "because",
}
_DRIFT = {"usd": 0.01, "reason": "rounding"}


def _cell(**changed: Any) -> Cell:
    return Cell(
        key=CellKey(workload="w", scenario="baseline", blocks=1),
        kind="simulated",
        digest="d",
        **{
            "usd": 2.5,
            "counts": {"calls": 4, "violations": 0},
            "outcomes": (BlockOutcome(status="ai_complete", answer={"a": 1}),),
            "spent": {"wall_s": 9.0},
            **changed,
        },
    )


def _measured(**changed: Any) -> tuple[list[Row], list[Timing]]:
    cells = [_cell(**changed)]
    return compare(cells, {}), timings(cells)


def _gate(**changed: Any) -> Any:
    gate = {k: v for k, v in {**_GATE, **changed}.items() if v is not None}
    return parse_gates({"drift": _DRIFT, "gate": [gate]}).gates[0]


def test_a_number_beyond_its_bound_fails_and_is_named() -> None:
    result = judge(_gate(), *_measured())
    assert (result.passed, result.found) == (False, 2.5)
    assert result.sentence == "usd of baseline on w (1 blocks) moved to 2.5; allowed at most 2."


def test_a_number_on_its_bound_passes() -> None:
    assert judge(_gate(at_most=2.5), *_measured()).passed
    result = judge(_gate(at_most=None, at_least=2.5), *_measured())
    assert (result.passed, result.sentence) == (True, "usd of baseline on w (1 blocks) is 2.5; allowed at least 2.5.")
    assert not judge(_gate(at_most=None, at_least=2.6), *_measured()).passed


def test_times_are_gated_as_counts_are() -> None:
    assert judge(_gate(measure="wall_s", at_most=9), *_measured()).passed
    assert not judge(_gate(measure="wall_s", at_most=8), *_measured()).passed


def test_what_was_not_measured_fails() -> None:
    rows, times = _measured()
    assert judge(_gate(blocks=2), rows, times).sentence == "usd of baseline on w (2 blocks) is not measured."
    assert judge(_gate(cache="warm"), rows, times).sentence == "usd of baseline on w (1 blocks, warm) is not measured."
    assert judge(_gate(measure="lost"), rows, []).sentence == "lost of baseline on w (1 blocks) is unknown."
    unavailable = judge(_gate(), *_measured(refusal="no batches"))
    assert (unavailable.passed, unavailable.found) == (False, None)
    assert "not available: no batches" in unavailable.sentence


def test_a_gate_on_documents_that_are_not_here_is_not_judged() -> None:
    gate = _gate(workload="contracts", where_documents_are=True)
    result = judge(gate, *_measured())
    assert (result.passed, result.found) == (True, None)
    assert result.sentence.endswith("is not judged: its documents are not on this machine.")
    # Where the documents are, every cell of theirs has to be measured.
    assert not judge(_gate(blocks=2, where_documents_are=True), *_measured()).passed


def test_the_cells_of_gates_include_their_baselines() -> None:
    other = {**_GATE, "scenario": "packs", "cache": "warm"}
    gates = parse_gates({"drift": _DRIFT, "gate": [other]})
    assert gates.keys == (
        CellKey(workload="w", scenario="baseline", blocks=1),
        CellKey(workload="w", scenario="packs", blocks=1, cache="warm"),
    )
    assert gates.of_tier("packs") == gates.gates
    assert gates.of_tier("other") == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, r"\[drift\]"),
        ({"drift": {"usd": 1}, "gate": []}, r"\[drift\]"),
        ({"drift": _DRIFT, "gate": 3}, r"\[drift\]"),
        ({"drift": {"usd": "much", "reason": "r"}, "gate": []}, "drift.usd"),
        ({"drift": _DRIFT, "gate": [3]}, "gate 1 must be a table"),
        ({"drift": _DRIFT, "gate": [_GATE, {**_GATE, "atmost": 1}]}, "gate 2: unknown member 'atmost'"),
        ({"drift": _DRIFT, "gate": [{k: v for k, v in _GATE.items() if k != "reason"}]}, "reason is missing"),
        ({"drift": _DRIFT, "gate": [{**_GATE, "at_least": 1}]}, "one of at_most and at_least"),
    ],
)
def test_a_gate_that_says_nothing_clear_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_gates(document)


def test_a_number_that_moved_further_than_declared_is_told_from_where_to_where() -> None:
    row = _measured()[0][0]
    drift = Drift(allowed={"usd": 0.01, "calls": 0.0, "agreement": -0.1, "lost": 0.0}, reason="r")
    assert moved(drift, row, {"usd": 2.49, "calls": 4, "agreement": 1.0, "lost": 1.0}) == []
    assert moved(drift, row, {"usd": 2.0, "calls": 3}) == [
        "usd of baseline on w (1 blocks, cold) moved from 2 to 2.5.",
        "calls of baseline on w (1 blocks, cold) moved from 3 to 4.",
    ]
    assert moved(drift, row, {"usd": 9.0, "agreement": 1.2}) == [
        "agreement of baseline on w (1 blocks, cold) moved from 1.2 to 1."
    ]
