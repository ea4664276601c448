"""What the routing benchmarks read is what was recorded, and what they claim holds on the recordings at hand."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answer_repairs import mended
from benchmarks.recordings import PAIRS, naive_task_rule, published_task_rule
from benchmarks.routing_backtest import rows_of
from benchmarks.routing_cascade import doubts_of, with_doubts
from benchmarks.routing_spread import Trial, trial_of
from tokenopt_pipeline.domain.backtesting import backtest
from tokenopt_pipeline.domain.escalation import EscalationPolicy
from tokenopt_pipeline.domain.routing import RoutingPolicy
from tokenopt_pipeline.measuring.bfcl import read_queries
from tokenopt_pipeline_tests.domain.recorded import rows

_RECORD: dict[str, Any] = {
    "query_id": "q",
    "task": "bfcl/simple",
    "text": "What is the area of a circle with radius 5 cm?",
    "functions": {
        "name": "geometry.area",
        "description": "Calculate the area of a circle.",
        "parameters": {
            "type": "dict",
            "properties": {"radius": {"type": "float"}, "unit": {"type": "string", "enum": ["cm", "m"]}},
            "required": ["radius"],
        },
    },
}


def _read(tmp_path: Path, raw: object, **changes: Any) -> Any:
    path = tmp_path / "replay.jsonl.gz"
    record = {**_RECORD, **changes, "outputs": {"m": {"raw": raw, "correct": 1}}}
    with gzip.open(path, "wt") as lines:
        lines.write(json.dumps(record) + "\n")
    (query,) = read_queries(path)
    return query


def _call(**arguments: Any) -> dict[str, Any]:
    return {"calls": [{"function": "geometry.area", "arguments": arguments}]}


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        pytest.param("[geometry.area(radius=5, unit='cm')]", _call(radius=5, unit="cm"), id="as asked"),
        pytest.param("geometry.area(radius=-5.0)", _call(radius=-5.0), id="without brackets"),
        pytest.param([{"geometry_area": '{"radius": 5}'}], _call(radius=5), id="function calling"),
        pytest.param("[geometry.area(5)]", _call(**{"0": 5}), id="a value without a name"),
        pytest.param("[geometry.area(radius=2*r)]", _call(radius="2 * r"), id="an expression"),
        pytest.param(
            "[math.pi(radius=(1, 2))]",
            {"calls": [{"function": "math.pi", "arguments": {"radius": [1, 2]}}]},
            id="another function",
        ),
        pytest.param("No function fits.", {"calls": []}, id="prose"),
        pytest.param(["No function fits."], {"calls": []}, id="prose in a list"),
        pytest.param("[math.pi * 5]", {"calls": []}, id="code without a call"),
        pytest.param("Here it is: [geometry.area(radius=5)]", None, id="a call in prose"),
        pytest.param([{"geometry_area": "{"}], None, id="arguments that are no JSON"),
        pytest.param("Only geometry.area() is here, and it does not translate.", {"calls": []}, id="prose about one"),
        pytest.param(
            "[geometry.area(unit='cm, from=1', from='20', to=30)]",
            _call(unit="cm, from=1", **{"from": "20"}, to=30),
            id="a parameter called as Python's own word",
        ),
    ],
)
def test_an_output_is_read_as_the_model_wrote_it(tmp_path: Path, raw: object, values: object) -> None:
    assert _read(tmp_path, raw).answers["m"].values == values


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[geometry.area(radius=5, unit='cm')]", {"something_found"}),
        ("[geometry.area(unit='cm')]", {"something_found", "schema", "not_covered"}),
        ("[geometry.area(radius=7)]", {"something_found", "number_not_in_text", "not_covered"}),
        ("[geometry.perimeter(radius=5)]", {"something_found", "schema", "left_out", "text_not_in_text"}),
        ("No function fits.", {"nothing_found", "left_out"}),
        ("Sure: geometry.area(radius=5)", {"unparsable"}),
    ],
)
def test_the_validators_look_at_calls_as_at_any_answer(tmp_path: Path, raw: str, expected: set[str]) -> None:
    assert {doubt.id for doubt in doubts_of(_read(tmp_path, raw), "m")} == expected


def test_code_in_strings_is_read_by_the_type_its_parameter_declares(tmp_path: Path) -> None:
    parameters = {
        "type": "dict",
        "properties": {"on": {"type": "boolean"}, "n": {"type": "long"}, "id": {"type": "String"}},
    }
    function = {"name": "f", "description": "d", "parameters": {**parameters, "required": []}}
    query = _read(tmp_path, [{"f": '{"on": "true", "n": "12L", "id": "34"}'}], functions=[function], task="bfcl/java")
    assert query.answers["m"].values["calls"][0]["arguments"] == {"on": True, "n": 12, "id": "34"}


def test_the_plain_rule_takes_the_tasks_that_lose_least_while_the_target_holds() -> None:
    recorded = [*rows("a", [(1, 1)] * 98 + [(0, 1)] * 2), *rows("b", [(0, 1)] * 10 + [(1, 1)] * 90)]
    assert naive_task_rule(recorded, -0.01) == {"a"}
    assert naive_task_rule(recorded, -0.06) == {"a", "b"}
    assert naive_task_rule(recorded, 0.0) == frozenset()


def test_a_rule_that_nobody_published_is_none(tmp_path: Path) -> None:
    assert published_task_rule(tmp_path, PAIRS[0]) is None


def test_checking_every_hard_doubt_saves_more_than_half_of_what_always_4o_costs_at_no_loss(shared: Path) -> None:
    folder = shared / "data" / "routing"
    pair = PAIRS[2]
    queries = {query.query_id: query for query in read_queries(folder / "bfcl_replay.jsonl.gz", models={pair.small})}
    recorded = with_doubts(rows_of(folder, pair, "test"), queries, pair)
    policy = RoutingPolicy(default_tier="small", escalation=EscalationPolicy(enabled=True))
    found = backtest(policy, recorded, reference="mid").of("policy")
    assert found.saving is not None
    assert found.change is not None
    assert found.saving.mean > 0.6
    assert found.change.mean >= 0


def test_a_block_s_output_is_its_last_usable_answer() -> None:
    (row,) = rows("t", [(1, 1)])
    row = replace(row, tiers={**row.tiers, "small": replace(row.tiers["small"], doubts=frozenset({"schema"}))})
    checked = RoutingPolicy(default_tier="small", escalation=EscalationPolicy(enabled=True))

    def change(policy: RoutingPolicy, *, small: bool, mid: bool) -> float | None:
        return trial_of(policy, [row], {(row.query_id, "small"): small, (row.query_id, "mid"): mid}).change_as_run

    assert change(checked, small=True, mid=True) == 0.0
    # The dear answer cannot be used and the doubted one stands, where always asking the dear model fails the block.
    assert change(checked, small=True, mid=False) == 1.0
    assert change(checked, small=False, mid=False) == 0.0
    assert change(RoutingPolicy(default_tier="small"), small=False, mid=True) == -1.0


@pytest.mark.parametrize(
    ("cost", "change", "beats", "beaten"),
    [(0.5, 0.0, True, False), (0.6, 0.0, False, False), (0.5, -0.1, False, False), (0.7, 0.0, False, True)],
)
def test_a_rule_beats_another_that_is_neither_cheaper_nor_better(
    cost: float, change: float, beats: bool, beaten: bool
) -> None:
    one, other = (Trial(cost=c, change=q, change_as_run=None) for c, q in ((cost, change), (0.6, 0.0)))
    assert (one.beats(other), other.beats(one)) == (beats, beaten)


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, "12", 12),
        ({"type": "number"}, "-1.5", -1.5),
        ({"type": "integer"}, "about 12", "about 12"),
        ({"type": "integer"}, "012", "012"),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "string"}, 5, "5"),
        ({"type": "string"}, True, True),
        ({"type": "string"}, ["a"], "a"),
        ({"type": "string"}, ["a", "b"], ["a", "b"]),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
        ({"type": "array", "items": {"type": "integer"}}, "3", [3]),
        ({"type": "array"}, "[half", ["[half"]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": None, "b": None}, {"b": None}),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"a": None}, {"a": None}),
        ({}, "12", "12"),
    ],
)
def test_only_what_loses_nothing_is_mended(schema: dict[str, Any], value: object, expected: object) -> None:
    assert mended(schema, value) == expected
    assert type(mended(schema, value)) is type(expected)
