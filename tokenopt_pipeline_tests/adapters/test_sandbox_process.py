"""The sandbox as a process: one per home, found again, never confused with another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tokenopt_pipeline.adapters import sandbox_process
from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess
from tokenopt_pipeline.domain.errors import ProviderUnavailable

_UP = "import sys, pathlib; from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess as S; "


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in sandboxes(tmp_path):
        process.kill()


def state(home: Path) -> dict[str, Any]:
    """What is remembered of the sandbox."""
    remembered: dict[str, Any] = json.loads((home / "sandbox" / "process.json").read_text())
    return remembered


def sandboxes(home: Path) -> list[psutil.Process]:
    """Every sandbox process of the home that lives, whoever remembers it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        arguments = process.info["cmdline"] or []
        if str(home / "sandbox" / "port") in arguments and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(base_url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{base_url}/healthz", timeout=5) as answer:
        return bool(answer.status == 200)


def test_up_twice_is_one_process_at_one_address_and_down_ends_it(home: Path) -> None:
    sandbox = SandboxProcess(home)
    assert (sandbox.base_url(), sandbox.down()) == (None, False)
    first = sandbox.up()
    assert answers(first)
    assert SandboxProcess(home).up() == sandbox.base_url() == first
    assert len(sandboxes(home)) == 1
    assert sandbox.down()
    assert sandboxes(home) == []
    assert (sandbox.base_url(), sandbox.down()) == (None, False)


def test_a_killed_sandbox_is_started_again(home: Path) -> None:
    sandbox = SandboxProcess(home)
    sandbox.up()
    (killed,) = sandboxes(home)
    killed.kill()
    until(lambda: sandboxes(home) == [])
    assert sandbox.base_url() is None
    assert answers(sandbox.up())
    assert [p.pid for p in sandboxes(home)] == [state(home)["pid"]]


def test_a_sandbox_that_hangs_is_replaced_and_does_not_live_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = SandboxProcess(home)
    sandbox.up()
    (hanging,) = sandboxes(home)
    hanging.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(sandbox_process, "_HEALTH_S", 0.2)
    monkeypatch.setattr(sandbox_process, "_STOP_S", 0.2)
    assert answers(sandbox.up())
    assert hanging.pid not in [p.pid for p in sandboxes(home)]
    assert len(sandboxes(home)) == 1


def test_a_sandbox_that_hangs_is_ended_by_down(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = SandboxProcess(home)
    sandbox.up()
    sandboxes(home)[0].send_signal(signal.SIGSTOP)
    monkeypatch.setattr(sandbox_process, "_STOP_S", 0.2)
    assert sandbox.down()
    until(lambda: sandboxes(home) == [])


def test_another_process_under_a_remembered_pid_is_neither_believed_nor_stopped(home: Path) -> None:
    sandbox = SandboxProcess(home)
    sandbox.up()
    remembered = state(home)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (home / "sandbox" / "process.json").write_text(json.dumps({**remembered, "pid": stranger.pid}))
        assert sandbox.base_url() is None
        assert not sandbox.down()
        assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "port": 1, "started": 1}', "\xff"])
def test_what_is_no_memory_of_a_sandbox_is_none(home: Path, text: str) -> None:
    (home / "sandbox").mkdir()
    (home / "sandbox" / "process.json").write_text(text, "latin-1")
    assert SandboxProcess(home).base_url() is None
    assert not SandboxProcess(home).down()


def test_six_processes_that_want_it_at_once_get_the_same_one(home: Path) -> None:
    code = f"{_UP} print(S(pathlib.Path(sys.argv[1])).up())"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    addresses = {process.communicate(timeout=60)[0].strip() for process in started}
    assert addresses == {SandboxProcess(home).base_url()}
    assert len(sandboxes(home)) == 1


def test_the_sandbox_outlives_the_process_that_started_it(home: Path) -> None:
    code = f"{_UP} S(pathlib.Path(sys.argv[1])).up()"
    subprocess.run([sys.executable, "-c", code, str(home)], check=True, timeout=60)
    assert answers(str(SandboxProcess(home).base_url()))


def test_a_proxy_in_the_environment_is_not_asked_for_the_sandbox(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sandbox = SandboxProcess(home)
    assert sandbox.up() == sandbox.up()
    assert len(sandboxes(home)) == 1


def test_a_sandbox_that_ends_at_once_is_told_with_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ProviderUnavailable, match=r"did not start; its log is .*sandbox\.log"):
        SandboxProcess(home).up()


def test_a_sandbox_that_never_answers_is_ended_and_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "sandbox").mkdir()
    slow = home / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(sandbox_process, "_START_S", 0.2)
    before = set(psutil.Process().children())
    with pytest.raises(ProviderUnavailable, match="did not start"):
        SandboxProcess(home).up()
    assert not set(psutil.Process().children()) - before


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProviderUnavailable, match="the sandbox cannot use"):
        SandboxProcess(tmp_path / "file").up()
