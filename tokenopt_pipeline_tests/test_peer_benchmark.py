"""The peers' stand-in answers every shape alike, bills as it says and spoils what it is told to; ours stands in its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers.__main__ import Control, measure, standin
from benchmarks.peers.billing import State, answer, reply, spoilt, unpacked
from benchmarks.peers.dialects import CHAT, MESSAGES, RESPONSES
from benchmarks.peers.figures import MINI, SONNET, Line, bars, table
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
    assert any("| ours | clean | 50 | 50 / 0 / 0 |" in line for line in table([clean]))


def _asked(wire: str, text: str, instructions: str) -> dict[str, Any]:
    user = [{"role": "user", "content": text}]
    if wire == MESSAGES:
        shared = {"type": "text", "text": instructions, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
        form = {"format": {"type": "json_schema", "schema": SCHEMA}}
        return {"model": "m", "system": [shared], "messages": user, "output_config": form}
    told = [{"role": "developer", "content": [{"type": "input_text", "text": instructions}]}]
    if wire == RESPONSES:
        return {"model": "m", "input": [*told, *user], "text": {"format": {"schema": SCHEMA}}}
    return {"model": "m", "messages": [*told, *user], "response_format": {"json_schema": {"schema": SCHEMA}}}


@pytest.mark.parametrize("wire", [CHAT, RESPONSES, MESSAGES])
def test_every_wire_says_the_same_answer_and_bills_what_is_kept_at_its_price(wire: str) -> None:
    state, block = State(), blocks(1)[0]
    ((_, right),) = facts_in(block["text"])
    body = _asked(wire, block["text"], "Read the clause. " * 700)
    for _ in range(2):
        said = reply(state, (wire, body), None, in_batch=False)
        assert json.dumps(right) in json.dumps(said).replace("\\", "")
    counts = state.counts
    assert counts["cached"] > 2_000
    assert (counts["written_long"] > 0) == (wire == MESSAGES)
    alone = {name: counts[name] for name in counts}
    reply(state, (wire, body), None, in_batch=True)
    assert counts["batch_output"] * 2 == counts["output"]
    # Only where prefixes are marked is one read in a batch at a price of its own, and only one that was there before.
    assert (counts["batch_cached"] > 0) == (wire == MESSAGES)
    assert {name: counts[name] for name in alone if name != "calls"} == {n: v for n, v in alone.items() if n != "calls"}
    assert state.paid[block["id"]] == 3


def test_a_fault_of_a_pack_leaves_out_repeats_or_moves_one_entry() -> None:
    def broken(fault: str | None) -> list[int]:
        found: list[int] = unpacked({"results": [1, 2, 3]}, fault)["results"]
        return found

    assert [broken(f) for f in (None, "dropped", "repeated", "swapped")] == [
        [1, 2, 3],
        [1, 3],
        [1, 1, 2, 3],
        [2, 1, 3],
    ]
    assert unpacked({"results": [1]}, "dropped") == {"results": [1]}


def test_batches_and_prefixes_have_prices_of_their_own() -> None:
    one_of_each = {
        f"{mode}{kind}": 1_000_000
        for mode in ("", "batch_")
        for kind in ("input", "cached", "written", "written_long", "output")
    }
    assert MINI.usd(one_of_each) == pytest.approx(0.4 + 0.1 + 1.6 + 0.2 + 0.2 + 0.8)
    assert SONNET.usd(one_of_each) == pytest.approx((3 + 0.3 + 3.75 + 6 + 15) * 1.5)


def _line(**changed: Any) -> Line:
    numbers = dict.fromkeys(
        ("exit_status", "wrong", "missing", "calls", "input_tokens", "cached_tokens", "paid_again"), 0
    )
    line = {"peer": "ours", "condition": "clean", "blocks": 500, "right": 500, "output_tokens": 100, **numbers}
    return Line(**{**line, "usd": 0.04, "wall_s": 1.0, "cpu_s": 1.5, "peak_rss_mb": 100.0, **changed})


def test_a_bar_is_met_missed_or_not_measured() -> None:
    def met(*lines: Line) -> dict[str, bool | None]:
        return {bar.name: bar.is_met for bar in bars(lines)}

    good = met(
        _line(),
        _line(condition="again", usd=0.0),
        _line(condition="faults", output_tokens=110),
        _line(condition="kill", paid_again=200),
        _line(blocks=5000, cpu_s=8.0),
    )
    assert not [name for name, is_met in good.items() if is_met is False]
    assert good["a clean run again costs nothing, online, gpt-4.1-mini"]
    assert good["a clean run again costs nothing, online, claude-sonnet-4-5"] is None
    assert good["at most 8 CPU s for 5,000"]
    bad = met(_line(usd=0.05, cpu_s=2.1, peak_rss_mb=120.0), _line(condition="faults", output_tokens=111))
    assert {name for name, is_met in bad.items() if is_met is False} == {
        "at most $0.045 online, gpt-4.1-mini",
        "at most 10 % more output for it, online, gpt-4.1-mini",
        "at most 2 CPU s for 500",
        "at most 120 MB for 500",
    }
    killed = [_line(peer="ours_batch", condition="kill_in_submit", paid_again=1)]
    assert [bar.is_met for bar in bars(killed) if "inside submit" in bar.name] == [False, None]


def test_a_batch_that_was_taken_by_a_killed_process_is_found_again_and_never_paid_twice(
    control: Control, stand: Stand, tmp_path: Path
) -> None:
    line = measure("ours_batch", "kill_in_submit", 50, venvs=tmp_path, control=control, stand=stand)
    assert (line.exit_status, line.outcome, line.calls, line.paid_again) == (0, "50 / 0 / 0", 2, 0)
