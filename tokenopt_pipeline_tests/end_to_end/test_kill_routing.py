"""A run that is killed while it falls back, sorts, compares and escalates ends with one output per block all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.end_to_end.terminal import LINE_TEMPLATE, Terminal, scalar
from tokenopt_pipeline_tests.end_to_end.test_kill import (
    standing_still_at,
    stat,
    terminal_on,
    url_of,
    wait_until_answered,
    wait_until_nobody_works,
)
from tokenopt_pipeline_tests.postgres_servers import database_copy

_CONCURRENCY, _BLOCKS = 3, 12
_SCHEMA = {"ref": "rents", "type": "object", "properties": {"rent": {"type": "integer"}}, "required": ["rent"]}
#: Every kind of move: the preferred small model does not exist, some blocks are simple, answers are compared and doubted.
_POLICY = {
    "packing": {"pack_size": 2},
    "calls": {"concurrency": _CONCURRENCY},
    "models": {"anthropic/claude-of-tomorrow": {"price": {"input": 1, "output": 5}}},
    "routing": {
        "models": {"small": ["anthropic/claude-of-tomorrow", "anthropic/claude-haiku-5-5"]},
        "rules": [{"id": "unsure", "two_pass": {"classifier": "small"}}],
        "escalation": {"enabled": True, "max_steps": 2, "second_opinion": "anthropic/claude-opus-5"},
    },
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(latency_s=0.1)) as running:
        yield running


@pytest.fixture
def terminal(line_server: str, sandbox: Sandbox, tmp_path: Path) -> Iterator[Terminal]:
    # Text without a figure gets a number that nobody stated.
    texts = [
        f"Flat {i} is let for {300 + i} euros." if i % 3 else f"A flat is let to party {'abcdefgh'[i // 3]}."
        for i in range(_BLOCKS)
    ]
    lines = "".join(json.dumps({"type": "paragraph", "text": text}) + "\n" for text in texts)
    (tmp_path / "flats.jsonl").write_text(lines)
    (tmp_path / "rents.json").write_text(json.dumps(_SCHEMA))
    (tmp_path / "policy.yaml").write_text(json.dumps(_POLICY))
    with database_copy(line_server, "killed_routing", template=LINE_TEMPLATE) as url:
        terminal = terminal_on(url, sandbox, tmp_path)
        terminal.tok("ingest", tmp_path / "flats.jsonl", "--collection", "flats")
        yield terminal


def test_a_run_killed_between_its_moves_loses_nothing_and_asks_little_twice(
    terminal: Terminal, sandbox: Sandbox
) -> None:
    url, run = url_of(terminal), ("run", "flats", "--schema", "rents.json", "--policy", "policy.yaml", "--json")
    points: list[tuple[str, str | None, int]] = [
        ("before the first fallback is stored", "pack_block", 0),
        ("while first passes send blocks on", "model_output", 2),
        ("while an earlier answer is chosen", "chosen_answer", 4),
        ("while doubted blocks are packed again", "pack", 10),
        ("in the middle of escalated calls", None, 14),
    ]
    for point, locked, after_calls in points:
        lost_before = stat(sandbox, "calls") - scalar(url, "select count(*) from response")
        process = terminal.start(*run)
        wait_until_answered(process, url, after_calls)
        with nullcontext() if locked is None else standing_still_at(url, locked, process):
            process.kill()
        wait_until_nobody_works(url, sandbox)
        lost = stat(sandbox, "calls") - scalar(url, "select count(*) from response") - lost_before
        assert lost <= _CONCURRENCY, point
    summary = terminal.tok(*run).json()
    assert (summary["state"], summary["violations"]) == ("complete", 0)
    assert summary["outcomes"]["ai_complete"] == summary["blocks"] == _BLOCKS
    assert all(check["passed"] == check["evaluated"] == 1 for check in summary["checks"].values())
    routing = summary["routing"]
    assert routing["first_passes"] == _BLOCKS
    assert routing["fallbacks"]["unknown"] >= _BLOCKS
    assert sum(routing["classified"].values()) == _BLOCKS
    assert routing["escalated"]["large"] > 0
    assert scalar(url, "select count(*) from run") == 1
    assert (
        scalar(url, "select count(*) from ledger") == summary["calls"] == scalar(url, "select count(*) from response")
    )
    assert scalar(url, "select count(*) from pack where state = 'open'") == 0
    # A run that nobody disturbs makes as many answered calls: nothing was sorted, compared or escalated twice.
    undisturbed = terminal.tok(*run, "--set", "reuse.enabled=false").json()
    assert undisturbed["calls"] == summary["calls"]
    # Dollars differ by what stood in the provider's cache.
    assert {**undisturbed["routing"], "usd": None} == {**routing, "usd": None}
    story = terminal.tok(
        "explain",
        scalar(
            url,
            "select document_id || ':0' from document d join block using (document_no) where text like 'A flat is let to party a%'",
        ),
        "--run",
        summary["run"],
    ).out
    assert (
        "claude-of-tomorrow is not known to its provider, so anthropic/claude-haiku-5-5 is asked, hop 1 of at most 2."
        in story
    )
    assert "verdict     Doubt number_not_in_text sends the block to tier" in story
