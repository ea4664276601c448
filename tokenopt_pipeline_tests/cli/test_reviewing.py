"""`tokenopt review` at the command line: list, confirm, edit, reject, and where the reviews are seen afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tokenopt_pipeline_tests.end_to_end.terminal import SCHEMA, Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewing:
    """A finished run, and the answers that nobody had reviewed when it ended."""

    terminal: Terminal
    run: str
    answers: list[dict[str, Any]]

    def review(self, command: str, *arguments: str) -> dict[str, Any]:
        return self.terminal.tok("review", command, self.run, *arguments, "--json").json()


@pytest.fixture(scope="module")
def reviewing(module_terminal: Terminal) -> Reviewing:
    run = module_terminal.tok("run", "demo", "--schema", SCHEMA, "--json").json()["run"]
    told = module_terminal.tok("review", "list", run, "--most", "1000", "--json").json()
    assert told["not_shown"] == 0
    return Reviewing(terminal=module_terminal, run=run, answers=told["blocks"])


def test_the_list_shows_what_a_reviewer_needs_and_how_much_is_left(reviewing: Reviewing) -> None:
    first = reviewing.answers[0]
    shown = reviewing.terminal.tok("review", "list", reviewing.run, "--most", "1")

    assert shown.out.startswith(f"block       {first['block']}   {first['block_type']}, ai_complete")
    for name, value in first["answer"].items():
        assert f"  {name} = {json.dumps(value, ensure_ascii=False)}\n" in shown.out
    n = len(reviewing.answers)
    assert shown.err == f"{n:,} unreviewed blocks in {reviewing.run}, {n - 1:,} not shown (--most)\n"


def test_doubtful_and_undoubted_answers_are_all_answers(reviewing: Reviewing) -> None:
    doubtful = reviewing.review("list", "--doubtful", "--most", "1000")["blocks"]
    assert 0 < len(doubtful) < len(reviewing.answers)
    assert all(block["doubts"] for block in doubtful)
    undoubted = {a["block"] for a in reviewing.answers} - {d["block"] for d in doubtful}

    assert reviewing.review("confirm", "--without-doubts") == {"run": reviewing.run, "confirmed": len(undoubted)}

    confirmed = reviewing.review("list", "--state", "confirmed", "--most", "1000")["blocks"]
    assert {block["block"] for block in confirmed} == undoubted


def test_an_edit_is_checked_against_the_schema_told_and_exported(reviewing: Reviewing) -> None:
    block = reviewing.answers[-1]["block"]
    refused = reviewing.terminal.tok("review", "edit", reviewing.run, block, "--set", "sensitivity=7", code=2)
    assert refused.problem.startswith(f"block {block}: schema {SCHEMA} does not allow these values: ")

    told = reviewing.review(
        "edit",
        block,
        "--set",
        "event_date=2026-11-26",
        "--set",
        "facts=[]",
        "--by",
        "ann",
        "--note",
        "I was there",
    )

    expected = {**reviewing.answers[-1]["answer"], "event_date": "2026-11-26", "facts": []}
    assert told == {"run": reviewing.run, "block": block, "values": expected}
    story = reviewing.terminal.tok("explain", block, "--run", reviewing.run).out
    assert "review      corrected by ann, " in story
    assert ": I was there\n" in story
    assert story.endswith(f"outcome     confirmed\noutput      {json.dumps(expected, ensure_ascii=False)}\n")
    exported = reviewing.terminal.tok("export", reviewing.run, "--confirmed").out.splitlines()
    by_uid = {r["immutable"]["block"]["uid"]: r["extracted"] for r in map(json.loads, exported)}
    assert by_uid[block]["data"] == expected


def test_whole_values_replace_the_answer_and_must_be_an_object(reviewing: Reviewing) -> None:
    block = reviewing.answers[-2]["block"]
    whole = reviewing.answers[0]["answer"]
    assert reviewing.review("edit", block, "--values", json.dumps(whole))["values"] == whole
    for values, problem in (("[1]", "a JSON object is needed, found list"), ("{", "--values is not JSON")):
        refused = reviewing.terminal.tok("review", "edit", reviewing.run, block, "--values", values, code=2)
        assert problem in refused.problem


def test_a_rejected_answer_counts_as_failed_and_says_who_and_why(reviewing: Reviewing) -> None:
    block = reviewing.answers[-3]["block"]
    assert reviewing.review("reject", block, "--by", "ann", "--note", "made up") == {
        "run": reviewing.run,
        "rejected": 1,
    }

    status = reviewing.terminal.tok("status", reviewing.run, "--json").json()
    assert (status["outcomes"]["failed"], status["failed_by_class"]) == (1, {"rejected": 1})
    assert status["violations"] == 0
    story = reviewing.terminal.tok("explain", block, "--run", reviewing.run).out
    assert "outcome     failed, rejected: rejected by ann: made up" in story
    shown = reviewing.terminal.tok("review", "list", reviewing.run, "--state", "failed").out
    assert "            rejected: rejected by ann: made up" in shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("confirm",), "Name blocks, or say --all or --without-doubts."),
        (("confirm", "x:0", "--all"), "Name blocks, or say --all or --without-doubts."),
        (("edit", "x:0"), "Say what is right with --set FIELD=VALUE or with --values JSON."),
        (("confirm", "x:0"), "block 'x:0' is not in run"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    reviewing: Reviewing, arguments: tuple[str, ...], problem: str
) -> None:
    command, *rest = arguments
    refused = reviewing.terminal.tok("review", command, reviewing.run, *rest, code=2)
    assert problem in refused.err
