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
from pathlib import Path

import psutil

from tokenopt_pipeline.domain.errors import ProviderUnavailable

_START_S = 30.0


class SandboxProcess:
    """One sandbox per home, shared by every process that uses the home."""

    def __init__(self, home: Path) -> None:
        self._home = home / "sandbox"
        self._state = self._home / "process.json"
        self._port_file = self._home / "port"
        self._log = self._home / "sandbox.log"

    def up(self) -> str:
        """Starts the sandbox unless it runs; its base URL for the Anthropic SDK.

        Raises ProviderUnavailable when it does not come up.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with self._locked():
            running = self._running()
            if running is None:
                running = self._start()
        return f"http://127.0.0.1:{running[1]}/anthropic"

    def down(self) -> bool:
        """Stops the sandbox; False when none ran."""
        if not self._home.exists():
            return False
        with self._locked():
            running = self._running()
            self._state.unlink(missing_ok=True)
            if running is None:
                return False
            process = psutil.Process(running[0])
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except psutil.TimeoutExpired:
                process.kill()
            return True

    def base_url(self) -> str | None:
        """Where the sandbox answers; None when it does not run."""
        if not self._home.exists():
            return None
        with self._locked():
            running = self._running()
        return None if running is None else f"http://127.0.0.1:{running[1]}/anthropic"

    def _start(self) -> tuple[int, int]:
        self._port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tokenopt_pipeline.sandbox", "--port", "0", "--port-file", str(self._port_file)]
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self._home
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and child.poll() is None:
            if self._port_file.exists():
                port = int(self._port_file.read_text())
                self._state.write_text(
                    json.dumps({"pid": child.pid, "port": port, "started": psutil.Process(child.pid).create_time()})
                )
                return child.pid, port
            time.sleep(0.02)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        raise ProviderUnavailable(f"the sandbox did not start; its log is {self._log}")

    def _running(self) -> tuple[int, int] | None:
        """(pid, port) when the process we started still answers. A reused pid has another start time."""
        try:
            state = json.loads(self._state.read_text())
            if psutil.Process(state["pid"]).create_time() != state["started"]:
                return None
            with urllib.request.urlopen(f"http://127.0.0.1:{state['port']}/healthz", timeout=5) as answer:
                return (state["pid"], state["port"]) if answer.status == 200 else None
        except (OSError, ValueError, KeyError, psutil.Error):
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._home / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
