"""The peers' stand-in answers every shape alike, bills as it says and spoils what it is told to; ours stands in its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.__main__ import Control, measure, standin
from benchmarks.peers.billing import State, answer, spoilt
from benchmarks.peers.figures import table
from benchmarks.peers.workload import FIELDS, SCHEMA, Outcome, blocks, check, facts_in
from tokenopt_pipeline.measuring.stand import Stand


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with standin(tmp_path_factory.mktemp("standin")) as running:
        yield running


def test_every_block_states_one_answer_of_its_own() -> None:
    found = [list(facts_in(block["text"])) for block in blocks(500)]
    assert all(len(facts) == 1 for facts in found)
    assert [facts[0][0] for facts in found] == [block["id"] for block in blocks(500)]
    assert len({json.dumps(facts[0][1]) for facts in found}) == 500


def test_an_output_is_right_wrong_or_missing() -> None:
    asked = blocks(3)
    right = {block["id"]: values for block in asked for _, values in facts_in(block["text"])}
    first, second, third = (block["id"] for block in asked)
    assert check(asked, right) == Outcome(right=3, wrong=0, missing=0)
    swapped = {first: right[second], second: {**right[second], "amount": str(right[second]["amount"])}}
    assert check(asked, swapped) == Outcome(right=0, wrong=2, missing=1)
    assert check(asked, {**right, third: {"party": "x"}}).wrong == 1


def test_the_stand_in_answers_one_block_or_a_pack_in_the_shape_that_is_asked() -> None:
    facts: list[dict[str, Any]] = [values for block in blocks(2) for _, values in facts_in(block["text"])]
    assert answer(SCHEMA, facts[:1], SCHEMA) == facts[0]
    packed = {"properties": {"results": {"type": "array", "items": {"$ref": "#/$defs/one"}}}, "$defs": {"one": SCHEMA}}
    assert answer(packed, facts, packed) == {"results": facts}
    numbered = {"type": "object", "properties": {"n": {"type": "integer"}, **SCHEMA["properties"]}}
    schema = {"properties": {"results": {"type": "array", "items": numbered}}}
    assert [each["n"] for each in answer(schema, facts, schema)["results"]] == [1, 2]


@pytest.mark.parametrize("fault", ["cut", "misnamed", "prose", "wrong_type"])
def test_a_malformed_answer_is_no_answer(fault: str) -> None:
    text = json.dumps({"party": "A", "amount": 1, "subject": "delivery"})
    assert spoilt(text, None) == text
    try:
        found = json.loads(spoilt(text, fault))
    except ValueError:
        return
    assert set(found) != set(FIELDS) or not isinstance(found["amount"], int)


def test_faults_come_as_often_as_declared_and_a_retry_can_end_differently() -> None:
    state = State(malformed=0.05, rate_limited=0.02)
    drawn = [state.fault(b"%d" % n) for n in range(4000)]
    assert 50 < drawn.count("refused") < 110
    assert 150 < sum(fault not in (None, "refused") for fault in drawn) < 250
    spoiled = next(n for n, fault in enumerate(drawn) if fault)
    assert any(state.fault(b"%d" % spoiled) is None for _ in range(5))


def test_a_prefix_is_read_from_the_cache_once_it_was_answered() -> None:
    state, prompt = State(), "instructions " * 400
    assert state.cached_chars(prompt) == 0
    state.remember(prompt)
    assert state.cached_chars(prompt + "another block") == len(prompt) // 512 * 512
    assert state.cached_chars("other" + prompt) == 0


def test_ours_is_right_under_faults_and_pays_for_no_block_twice_without(
    control: Control, stand: Stand, tmp_path: Path
) -> None:
    clean, faulty = (
        measure("ours", condition, 50, venvs=tmp_path, control=control, stand=stand)
        for condition in ("clean", "faults")
    )
    for line in (clean, faulty):
        assert (line.exit_status, line.right, line.wrong, line.missing) == (0, 50, 0, 0)
    assert (clean.calls, clean.paid_again) == (2, 0)
    assert clean.usd > 0
    assert any("| ours | clean | 50 / 0 / 0 |" in line for line in table([clean]))
