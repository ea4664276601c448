"""The measured table of a policy file is read back exactly, or refused with its place."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.measured import MeasuredCheck, MeasuredRates, MeasuredTask, TierRate
from tokenopt_pipeline.domain.measured_section import parse_measured

_ROW: dict[str, Any] = {"task": "t", "n": 5, "tiers": {"small": {"quality": 0.5, "usd": 0}}}


def _parsed(value: object) -> MeasuredRates | None:
    return parse_measured(value, lambda key: f"file:3: routing.{key}")


def test_no_table_is_none() -> None:
    assert _parsed(None) is None


def test_a_table_survives_json() -> None:
    check = MeasuredCheck(doubted=0.25, wrong_doubted=1.0, wrong_undoubted=0.0, next_wrong_doubted=0.5)
    row = MeasuredTask(task="t", block_type="table", n=7, tiers={"mid": TierRate(quality=1.0, usd=0.1)}, check=check)
    row = replace(row, min_complexity=3, max_complexity=8)
    bare = MeasuredTask(task="u", block_type=None, n=1, tiers={"small": TierRate(quality=0.0, usd=0.0)})
    rates = MeasuredRates(source="a run", models={"mid": "m"}, tasks=(row, bare))
    assert _parsed(json.loads(json.dumps(asdict(rates)))) == rates


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (5, ["measured", "mapping"]),
        ({"sauce": 1}, ["unknown key 'sauce'", "source"]),
        ({"source": "", "models": {}, "tasks": []}, ["measured.source", "sentence"]),
        ({"source": "s", "models": {"huge": "m"}, "tasks": []}, ["measured.models", "huge"]),
        ({"source": "s", "models": [], "tasks": []}, ["measured.models"]),
        ({"source": "s", "models": {}, "tasks": {}}, ["measured.tasks", "list"]),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_its_place(table: object, words: list[str]) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _parsed(table)
    assert str(refusal.value).startswith("file:3: routing.measured")
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize(
    ("change", "place", "word"),
    [
        ({"task": ""}, ".task", "name"),
        ({"block_type": "poem"}, ".block_type", "'poem'"),
        ({"n": 0}, ".n", "whole number from 1"),
        ({"n": True}, ".n", "True"),
        ({"min_complexity": -1}, ".min_complexity", "whole number from 0"),
        ({"max_complexity": 1.5}, ".max_complexity", "1.5"),
        ({"tiers": {}}, ".tiers", "small, mid, large"),
        ({"tiers": {"huge": {}}}, ".tiers", "small, mid, large"),
        ({"tiers": {"mid": 1}}, ".tiers.mid", "mapping"),
        ({"tiers": {"mid": {"quality": 2, "usd": 0}}}, ".tiers.mid.quality", "0 to 1"),
        ({"tiers": {"mid": {"quality": True, "usd": 0}}}, ".tiers.mid.quality", "True"),
        ({"tiers": {"mid": {"quality": 1, "usd": "1"}}}, ".tiers.mid.usd", "'1'"),
        ({"check": {"doubted": 0.5}}, ".check.wrong_doubted", "None"),
        ({"check": 5}, ".check", "mapping"),
        ({"row": 1}, "", "unknown key 'row'"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_its_place(change: dict[str, Any], place: str, word: str) -> None:
    with pytest.raises(PolicyInvalid) as refusal:
        _parsed({"source": "s", "models": {}, "tasks": [{**_ROW, **change}]})
    assert f"measured.tasks[0]{place}" in str(refusal.value)
    assert word in str(refusal.value)
