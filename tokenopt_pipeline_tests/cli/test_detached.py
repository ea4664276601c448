"""A detached process is stopped whatever its starter's signals were, with all it started, and nobody else is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tokenopt_pipeline.cli.detached import Detached, start_detached, stop_detached
from tokenopt_pipeline_tests.postgres_servers import wait_until


@pytest.fixture
def started() -> Iterator[list[Detached]]:
    """Whatever a test leaves running is killed."""
    processes: list[Detached] = []
    yield processes
    stop_detached(processes, patience_s=0)


def run(started: list[Detached], folder: Path, *command: str) -> Detached:
    """`command`, once it has replaced the shell that started it and has written its first line."""
    log = folder / "log"
    process = start_detached(command, environment=dict(os.environ), folder=folder, log=log)
    started.append(process)
    wait_until(lambda: log.exists() and log.read_text())
    return process


def ended(process: Detached) -> bool:
    return process.process() is None


def test_signals_that_the_starter_ignores_still_stop_it(started: list[Detached], tmp_path: Path) -> None:
    """As in the background of a shell without job control."""
    ignored = [signal.SIGINT, signal.SIGTERM]
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    try:
        processes = [run(started, tmp_path, "sh", "-c", "echo up; exec sleep 600") for _ in ignored]
    finally:
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)
    for process, number in zip(processes, ignored, strict=True):
        os.kill(process.pid, number)
        wait_until(partial(ended, process), 5)


def test_it_runs_in_its_folder_and_session_with_its_output_in_the_log(started: list[Detached], tmp_path: Path) -> None:
    folder = tmp_path / "a folder; with 'quotes'"
    folder.mkdir()
    process = run(started, folder, "sh", "-c", "pwd; echo wrong >&2; exec sleep 600")
    wait_until(lambda: (folder / "log").read_text() == f"{folder}\nwrong\n")
    assert os.getsid(process.pid) == process.pid
    assert [member.pid for member in process.session()] == [process.pid]


def test_the_log_of_the_start_before_is_kept(started: list[Detached], tmp_path: Path) -> None:
    run(started, tmp_path, "echo", "first")
    run(started, tmp_path, "echo", "second")
    assert (tmp_path / "log").read_text() == "second\n"
    assert (tmp_path / "log.1").read_text() == "first\n"


def test_a_child_whose_parent_was_killed_is_stopped_too(started: list[Detached], tmp_path: Path) -> None:
    process = run(started, tmp_path, "sh", "-c", "sleep 600 & echo $!; exec sleep 600")
    child = psutil.Process(int((tmp_path / "log").read_text()))
    assert not process.orphans()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(process.orphans)
    stop_detached([process], patience_s=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_does_not_listen_is_killed_when_patience_ends(started: list[Detached], tmp_path: Path) -> None:
    process = run(started, tmp_path, "sh", "-c", "trap '' TERM; echo up; sleep 600; sleep 600")
    before = time.monotonic()
    stop_detached([process], patience_s=0.3)
    assert process.process() is None
    assert time.monotonic() - before < 4


def test_a_process_that_was_given_the_same_number_is_not_touched(started: list[Detached], tmp_path: Path) -> None:
    process = run(started, tmp_path, "sh", "-c", "echo up; exec sleep 600")
    former = Detached(pid=process.pid, started=process.started - 60)
    assert former.process() is None
    stop_detached([former], patience_s=5)
    assert process.process() is not None
