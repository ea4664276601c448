"""The straight line through the command line, twice; the second time changes nothing and costs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokenopt_pipeline.domain.runs import shard_key
from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.faults import Fault, FaultPlan, ScriptedFault
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import (
    DEMO,
    LINE_TEMPLATE,
    SCHEMA,
    Terminal,
    counts,
    scalar,
    terminal_at,
)
from tokenopt_pipeline_tests.postgres_servers import database_copy

#: Stands in one block, whose answers are spoilt for ever.
_POISON = "Quetzalcoatlus"
_RUN = ("run", "demo", "--schema", SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A run over the demo collection in which one block can never be answered."""

    terminal: Terminal
    sandbox: Sandbox
    documents: Path
    summary: dict[str, Any]
    records: list[dict[str, Any]]

    @property
    def url(self) -> str:
        return self.terminal.environment["TOKENOPT_DATABASE_URL"]

    @property
    def run(self) -> str:
        return str(self.summary["run"])

    def calls(self) -> int:
        """Answered by the sandbox so far."""
        return self._stat("calls")

    def blocks(self) -> int:
        """In the calls so far."""
        return self._stat("blocks")

    def _stat(self, name: str) -> int:
        value = self.sandbox.control.stats()[name]
        assert isinstance(value, int)
        return value

    def explain(self, status: str, *, reused: bool = False) -> list[str]:
        """The story of the first block with such an end."""
        uid = next(
            record["immutable"]["block"]["uid"]
            for record in self.records
            if record["extracted"]["status"] == status and bool(record["extracted"]["reused_from_run"]) is reused
        )
        return self.terminal.tok("explain", uid, "--run", self.run).out.splitlines()


@pytest.fixture(scope="module")
def line(line_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    documents = folder / "demo"
    shutil.copytree(DEMO, documents / "collection")
    poisoned = documents / "collection" / "note.md"
    poisoned.write_text(
        f"# A note about the survey\n\nThe vessel {_POISON} was last seen off the northern pier in May.\n"
    )
    faults = FaultPlan(scripted=(ScriptedFault(fault=Fault.MALFORMED, when_text_contains=_POISON, times=None),))
    with (
        database_copy(line_server, "line", template=LINE_TEMPLATE) as url,
        running_sandbox(SandboxConfig(faults=faults)) as sandbox,
    ):
        terminal = terminal_at(
            folder,
            folder,
            TOKENOPT_DATABASE_URL=url,
            ANTHROPIC_API_KEY="sandbox",
            ANTHROPIC_BASE_URL=sandbox.anthropic_url,
        )
        # The template knows the demo's bytes already; the copies come under the same names.
        terminal.tok("ingest", documents / "collection", "--collection", "demo")
        summary = terminal.tok(*_RUN, "--json", code=1).json()
        exported = terminal.tok("export", summary["run"]).out
        yield Line(
            terminal=terminal,
            sandbox=sandbox,
            documents=documents / "collection",
            summary=summary,
            records=[json.loads(record) for record in exported.splitlines()],
        )


def test_every_block_ends_once_and_the_poisoned_one_fails_alone(line: Line) -> None:
    outcomes = line.summary["outcomes"]
    assert sum(outcomes.values()) == line.summary["blocks"] == len(line.records)
    assert outcomes["failed"] == 1
    assert (line.summary["state"], line.summary["kind"], line.summary["violations"]) == ("complete", "simulated", 0)
    assert all(check["passed"] == check["evaluated"] for check in line.summary["checks"].values())
    [failed] = [record for record in line.records if record["extracted"]["status"] == "failed"]
    assert _POISON in failed["immutable"]["block"]["text"]
    assert failed["extracted"]["error_class"]


def test_status_tells_what_the_run_told(line: Line) -> None:
    told = line.terminal.tok("status", line.run, "--json").json()
    assert told == {name: value for name, value in line.summary.items() if name != "checks"}
    assert line.run in line.terminal.tok("status").out


def test_a_skipped_block_is_explained_by_its_rule(line: Line) -> None:
    story = line.explain("skipped")
    assert any(text.startswith("decision    skip by rule ") for text in story)
    assert story[-1].startswith("outcome     skipped by rule ")


def test_an_answered_block_is_explained_by_its_pack_route_and_call(line: Line) -> None:
    story = line.explain("ai_complete")
    for word in (
        "decision    keep",
        "pack        ",
        "route       ",
        "call        ",
        "finding     valid",
        "output      {",
    ):
        assert any(text.startswith(word) for text in story), word
    assert any("simulated" in text for text in story)


def test_a_reused_block_is_explained_by_the_block_it_repeats(line: Line) -> None:
    story = line.explain("ai_complete", reused=True)
    assert any(text.startswith("decision    reuse by rule same_as_earlier_block") for text in story)
    assert any(f"in run {line.run}" in text for text in story)
    assert not any(text.startswith("call ") for text in story)


def test_a_failed_block_is_explained_with_every_attempt(line: Line) -> None:
    story = line.explain("failed")
    findings = [text for text in story if text.startswith("finding ")]
    assert len(findings) >= 3
    assert not any(text == "finding     valid" for text in findings)
    assert story[-1].startswith("outcome     failed, ")


def test_the_same_run_again_makes_zero_calls_for_what_is_answered(line: Line) -> None:
    line.sandbox.control.set_faults({})
    before = line.calls()
    again = line.terminal.tok(*_RUN, "--json").json()
    # Only the block that failed is asked again, and now it is answered.
    assert (line.calls() - before, again["calls"]) == (1, 1)
    assert again["outcomes"]["ai_complete"] == 1
    third = line.terminal.tok(*_RUN, "--json").json()
    assert (line.calls() - before, third["calls"], third["usd"]) == (1, 0, 0.0)
    assert (
        third["outcomes"]["reused"] == line.summary["outcomes"]["ai_complete"] + line.summary["outcomes"]["reused"] + 1
    )


def test_the_same_bytes_again_change_nothing(line: Line) -> None:
    before = counts(line.url)
    again = line.terminal.tok("ingest", line.documents, "--collection", "demo", "--json").json()
    assert again["documents"] == {"new": 0, "known": 0, "unchanged": again["files"]}
    assert counts(line.url) == before


def test_a_changed_document_is_a_new_one_of_which_only_the_new_blocks_are_asked(line: Line) -> None:
    line.sandbox.control.set_faults({})
    answered = "select count(*) from overlay join block using (block_no) where staged is not null and text like"
    # The poisoned block is asked once more beside the new one, unless it was answered meanwhile.
    asked = 1 if scalar(line.url, f"{answered} '%{_POISON}%'") else 2
    changed = line.documents / "press-release.md"
    changed.write_text(
        changed.read_text("utf-8") + "\nThe ferry to Ullapool sails again from the first of June.\n", "utf-8"
    )
    before = counts(line.url)
    told = line.terminal.tok("ingest", changed.parent, "--collection", "demo", "--json").json()
    assert told["documents"]["new"] == 1
    assert counts(line.url)["document"] == before["document"] + 1
    calls, blocks = line.calls(), line.blocks()
    summary = line.terminal.tok(*_RUN, "--json").json()
    assert line.calls() - calls == summary["calls"] > 0
    assert line.blocks() - blocks == summary["outcomes"]["ai_complete"] == asked
    # The old run keeps the old document.
    assert len(line.terminal.tok("export", line.run).out.splitlines()) == len(line.records)


def test_a_prepared_run_waits_for_somebody_to_launch_it_and_can_be_resumed(line: Line) -> None:
    calls = line.calls()
    prepared = line.terminal.tok(*_RUN, "--set", "packing.pack_size=9", "--prepare", "--json").json()
    assert prepared["partitions"] == [shard_key(prepared["run"], 0)]
    assert line.terminal.tok("status", prepared["run"], "--json").json()["outcomes"]["outstanding"] > 0
    assert line.calls() == calls
    resumed = line.terminal.tok("run", "--resume", prepared["run"], "--json").json()
    assert (resumed["run"], resumed["state"]) == (prepared["run"], "complete")
    assert resumed["outcomes"]["outstanding"] == 0
