"""The sandbox as a process beside ours: started once per home, found again by its port file, stopped by name."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path

import psutil

from tokenopt_pipeline.domain.errors import ProviderUnavailable

_START_S = 30.0
_STOP_S = 5.0
_HEALTH_S = 5.0


class SandboxProcess:
    """One sandbox per home, shared by every process that uses the home."""

    def __init__(self, home: Path) -> None:
        self._home = home / "sandbox"
        self._state = self._home / "process.json"
        self._port_file = self._home / "port"
        self._log = self._home / "sandbox.log"

    def up(self) -> str:
        """Starts the sandbox unless it runs; the root of its addresses.

        Raises ProviderUnavailable when it does not come up.
        """
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            with self._locked():
                running = self._running() or self._start()
        except OSError as problem:
            raise ProviderUnavailable(f"the sandbox cannot use {self._home}: {problem.strerror}") from problem
        return _url(running)

    def down(self) -> bool:
        """Stops the sandbox; False when none ran."""
        if not self._home.exists():
            return False
        with self._locked():
            return self._stop()

    def base_url(self) -> str | None:
        """Where the sandbox answers; None when it does not run."""
        if not self._home.exists():
            return None
        with self._locked():
            running = self._running()
        return None if running is None else _url(running)

    def _start(self) -> _Started:
        # One that hangs would live on beside its successor, found by nobody.
        self._stop()
        self._port_file.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "tokenopt_pipeline.sandbox",
            "--port",
            "0",
            "--port-file",
            str(self._port_file),
        ]
        # The child finds the package where we found it, installed or not.
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._home,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and child.poll() is None:
            if self._port_file.exists():
                return self._remember(child.pid)
            time.sleep(0.02)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise ProviderUnavailable(f"the sandbox did not start; its log is {self._log}")

    def _remember(self, pid: int) -> _Started:
        try:
            started = _Started(
                pid=pid, port=int(self._port_file.read_text()), started=psutil.Process(pid).create_time()
            )
        except psutil.NoSuchProcess as problem:
            raise ProviderUnavailable(f"the sandbox ended as it started; its log is {self._log}") from problem
        # Written aside and renamed: half a file would be a sandbox that nobody finds again.
        aside = self._state.with_suffix(".part")
        aside.write_text(json.dumps(asdict(started)))
        aside.replace(self._state)
        return started

    def _stop(self) -> bool:
        """Ends the process we started, whether it still answers or not; False when it had ended."""
        started = self._alive()
        self._state.unlink(missing_ok=True)
        if started is None:
            return False
        try:
            process = psutil.Process(started.pid)
            process.terminate()
            try:
                process.wait(timeout=_STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(timeout=_STOP_S)
        except psutil.NoSuchProcess:
            # It ended between two looks.
            return True
        return True

    def _running(self) -> _Started | None:
        """The process we started, when it still answers."""
        started = self._alive()
        if started is None:
            return None
        # Not through a proxy named in the environment: it would look for its own loopback.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{started.port}/healthz", timeout=_HEALTH_S) as answer:
                return started if answer.status == 200 else None
        except (OSError, HTTPException):
            return None

    def _alive(self) -> _Started | None:
        """The process we started, when it has not ended. A reused pid has another start time."""
        try:
            started = _Started(**json.loads(self._state.read_text()))
            process = psutil.Process(started.pid)
            alive = process.create_time() == started.started and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, TypeError, psutil.Error):
            return None
        return started if alive else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._home / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    pid: int
    port: int
    #: The process's own start, seconds since the epoch, exactly as the system tells it.
    started: float


def _url(started: _Started) -> str:
    return f"http://127.0.0.1:{started.port}"
