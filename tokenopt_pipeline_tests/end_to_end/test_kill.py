"""A run that is killed, interrupted, doubled or robbed of its database ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tokenopt_pipeline.sandbox.config import SandboxConfig
from tokenopt_pipeline.sandbox.in_process import Sandbox, running_sandbox
from tokenopt_pipeline_tests.end_to_end.started import Started
from tokenopt_pipeline_tests.end_to_end.terminal import (
    DEMO,
    LINE_TEMPLATE,
    SCHEMA,
    Terminal,
    counts,
    finish,
    scalar,
    terminal_at,
)
from tokenopt_pipeline_tests.postgres_servers import database_copy, embedded_home, postmaster_pid, wait_until

_CONCURRENCY = 4
_RUN = (
    *("run", "demo", "--schema", SCHEMA, "--json"),
    *("--set", "packing.pack_size=4", "--set", f"calls.concurrency={_CONCURRENCY}"),
)
_LATENCY_S = 0.3
#: Of the demo collection under this schema, whatever happens on the way.
_BLOCKS = 250


@pytest.fixture
def slow_sandbox() -> Iterator[Sandbox]:
    with running_sandbox(SandboxConfig(latency_s=_LATENCY_S)) as running:
        yield running


@pytest.fixture
def terminal(line_server: str, slow_sandbox: Sandbox, tmp_path: Path) -> Iterator[Terminal]:
    """On a database of its own with the demo collection."""
    with database_copy(line_server, "killed", template=LINE_TEMPLATE) as url:
        yield terminal_on(url, slow_sandbox, tmp_path)


def terminal_on(url: str, sandbox: Sandbox, folder: Path) -> Terminal:
    return terminal_at(
        folder,
        folder,
        TOKENOPT_DATABASE_URL=url,
        ANTHROPIC_API_KEY="sandbox",
        ANTHROPIC_BASE_URL=sandbox.anthropic_url,
    )


def url_of(terminal: Terminal) -> str:
    return terminal.environment["TOKENOPT_DATABASE_URL"]


def stat(sandbox: Sandbox, name: str) -> int:
    value = sandbox.control.stats()[name]
    assert isinstance(value, int)
    return value


@contextmanager
def standing_still_at(url: str, table: str, process: Started) -> Iterator[None]:
    """Holds a process in its next write to `table` and waits until it is there; others may read the table."""
    with psycopg.connect(url) as holder:
        holder.execute(f"lock table tokenopt.{table} in share mode".encode())
        waiting = (
            "from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            " and application_name in ('tokenopt dagster', 'tokenopt cli')"
        )
        wait_while_running(process, lambda: scalar(url, f"select count(*) {waiting}") > 0)
        yield
        # As when the host dies: a statement that waited would otherwise be carried out after its client has gone.
        scalar(url, f"select count(pg_terminate_backend(pid)) {waiting}")


def wait_while_running(process: Started, condition: Callable[[], bool]) -> None:
    wait_until(lambda: process.wait(0) is not None or condition())
    assert process.wait(0) is None, process.said()


def wait_until_answered(process: Started, url: str, calls: int) -> None:
    wait_while_running(process, lambda: scalar(url, "select count(*) from response") >= calls)


def wait_until_nobody_works(url: str, sandbox: Sandbox) -> None:
    """A killed client's statement may end later than the client, and an answer may be on its way to nobody."""
    wait_until(lambda: stat(sandbox, "in_flight") == 0)
    backends = (
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and backend_type = 'client backend'"
    )
    wait_until(lambda: scalar(url, backends) == 0)


def assert_as_if_nothing_had_happened(summary: dict[str, Any], url: str) -> None:
    outcomes = summary["outcomes"]
    assert (summary["state"], summary["violations"], outcomes["outstanding"]) == ("complete", 0, 0)
    assert sum(outcomes.values()) == summary["blocks"] == _BLOCKS
    assert outcomes["failed"] == 0
    assert all(check["passed"] == check["evaluated"] == 1 for check in summary["checks"].values())
    assert len(summary["checks"]) == 5
    assert scalar(url, "select count(*) from run") == 1
    assert scalar(url, "select count(*) from overlay") == _BLOCKS
    assert scalar(url, "select count(*) from ledger") == scalar(url, "select count(*) from pack") == summary["calls"]
    # Every kept block was answered in one pack and no other.
    kept = scalar(url, "select count(*) from overlay where verdict = 'keep'")
    answers = scalar(url, "select count(*) from model_output where finding = 'valid'")
    assert kept == answers == outcomes["ai_complete"]


def test_a_run_killed_at_every_stage_loses_nothing_and_asks_little_twice(
    terminal: Terminal, slow_sandbox: Sandbox
) -> None:
    url = url_of(terminal)
    points: list[tuple[str, str | None, int]] = [
        ("planned, while decisions are stored", "overlay", 0),
        ("while packs are stored", "pack", 0),
        ("before the first call is begun", "call", 0),
        ("in the first calls", None, 2),
        ("while an answer is stored", "response", 6),
        ("in the middle of calls", None, 16),
        ("in later calls", None, 30),
        ("while overlays are reconciled", "overlay", 34),
        ("reconciled, before the run is closed", "run", 34),
    ]
    table = []
    for point, locked, after_calls in points:
        lost_before = stat(slow_sandbox, "calls") - scalar(url, "select count(*) from response")
        process = terminal.start(*_RUN)
        wait_until_answered(process, url, after_calls)
        with nullcontext() if locked is None else standing_still_at(url, locked, process):
            process.kill()
        wait_until_nobody_works(url, slow_sandbox)
        lost = stat(slow_sandbox, "calls") - scalar(url, "select count(*) from response") - lost_before
        table.append((point, lost))
        assert lost <= _CONCURRENCY, point
    ended = terminal.tok(*_RUN)
    assert_as_if_nothing_had_happened(ended.json(), url)
    assert stat(slow_sandbox, "calls") - ended.json()["calls"] == sum(lost for _, lost in table)
    # What may have been billed and never arrived is told, and nothing else is.
    assert ended.json()["calls_without_stored_answer"] >= sum(lost for _, lost in table)
    # Shown by `pytest -rP`.
    sys.stdout.writelines(f"killed {point}: {lost} calls asked again\n" for point, lost in table)


def test_an_ingest_killed_while_it_copies_leaves_nothing_and_can_be_repeated(
    terminal: Terminal, slow_sandbox: Sandbox, tmp_path: Path
) -> None:
    url, before = url_of(terminal), counts(url_of(terminal))
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps({"type": "paragraph", "text": f"Line {i}."}) + "\n" for i in range(3000)))
    process = terminal.start("ingest", many, "--collection", "many")
    with standing_still_at(url, "block", process):
        process.kill()
    wait_until_nobody_works(url, slow_sandbox)
    assert counts(url) == before
    assert terminal.tok("ingest", many, "--collection", "many", "--json").json()["blocks"] == 3000
    assert counts(url)["block"] == before["block"] + 3000


def test_an_interrupted_run_keeps_the_answers_in_flight(terminal: Terminal, slow_sandbox: Sandbox) -> None:
    process = terminal.start(*_RUN)
    wait_while_running(process, lambda: stat(slow_sandbox, "calls") >= 6)
    process.send(signal.SIGINT)
    ended = finish(process)
    assert ended.code == 3
    assert ended.json()["error_class"] == "KeyboardInterrupt"
    assert "the same command goes on" in ended.problem
    assert scalar(url_of(terminal), "select count(*) from response") == stat(slow_sandbox, "calls") < 45
    assert scalar(url_of(terminal), "select count(*) from call where state <> 'answered'") == 0
    summary = terminal.tok(*_RUN).json()
    assert_as_if_nothing_had_happened(summary, url_of(terminal))
    assert stat(slow_sandbox, "calls") == summary["calls"]


def test_two_runs_of_the_same_at_the_same_time_ask_nothing_twice(terminal: Terminal, slow_sandbox: Sandbox) -> None:
    first, second = terminal.start(*_RUN), terminal.start(*_RUN)
    ended = sorted([finish(first), finish(second)], key=lambda e: e.code)
    assert [e.code for e in ended] == [0, 3]
    assert "is being worked on by another process" in ended[1].problem
    assert_as_if_nothing_had_happened(ended[0].json(), url_of(terminal))
    assert stat(slow_sandbox, "calls") == ended[0].json()["calls"]


def test_a_run_cancelled_from_another_terminal_stops_and_keeps_what_it_has(
    terminal: Terminal, slow_sandbox: Sandbox
) -> None:
    process = terminal.start(*_RUN)
    wait_until_answered(process, url_of(terminal), 2)
    run = scalar(url_of(terminal), "select run_id from run")
    assert terminal.tok("cancel", run, "--json").json() == {"run": run, "cancelled": True}
    ended = finish(process)
    assert ended.code == 3
    assert f"run {run} was cancelled" in ended.problem
    summary = terminal.tok("status", run, "--json").json()
    assert summary["state"] == "cancelled"
    assert 0 < summary["calls"] == stat(slow_sandbox, "calls") < 45
    # Paid answers end their blocks, so that a later run can reuse them.
    assert summary["outcomes"]["ai_complete"] == stat(slow_sandbox, "blocks")
    assert "was cancelled" in terminal.tok("run", "--resume", run, code=2).problem


def test_a_run_survives_its_embedded_postgres(slow_sandbox: Sandbox, tmp_path: Path) -> None:
    with embedded_home() as home:
        terminal = terminal_at(
            home, tmp_path, ANTHROPIC_API_KEY="sandbox", ANTHROPIC_BASE_URL=slow_sandbox.anthropic_url
        )
        try:
            terminal.tok("ingest", DEMO, "--collection", "demo")
            process = terminal.start(*_RUN)
            wait_while_running(process, lambda: stat(slow_sandbox, "calls") >= 6)
            os.kill(postmaster_pid(home / "postgres"), signal.SIGKILL)
            ended = finish(process)
            assert ended.code == 4
            assert "database" in ended.problem
            assert "the same command goes on" in ended.problem
            asked_before = stat(slow_sandbox, "calls")
            summary = terminal.tok(*_RUN).json()
            assert (summary["state"], summary["violations"]) == ("complete", 0)
            assert sum(summary["outcomes"].values()) == _BLOCKS
            assert stat(slow_sandbox, "calls") - summary["calls"] <= _CONCURRENCY < asked_before
        finally:
            terminal.tok("down", code=None)
