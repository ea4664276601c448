"""A process that outlives its starter: started in a session of its own, recognised later, stopped with all it started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: The kernel's start times are relative to a boot time in whole seconds, which moves when the clock is corrected.
_CLOCK_TOLERANCE_S = 2.0
_PAUSE_S = 0.02
_KILL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """Enough to recognise a process after its starter has gone and its pid may have been given away."""

    pid: int
    started: float
    """Seconds since the epoch, as the kernel tells."""

    def process(self) -> psutil.Process | None:
        """None when it has ended."""
        # Only its starter can clear away what is left of it, and nobody else has to.
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            return found if self._is(found) and _runs(found) else None
        return None

    def rss_bytes(self) -> int:
        """Of the process itself; 0 when it has ended."""
        with suppress(psutil.NoSuchProcess):
            return found.memory_info().rss if (found := self.process()) is not None else 0
        return 0

    def session(self) -> list[psutil.Process]:
        """The process and its descendants, those included whose parent has died."""
        with suppress(psutil.NoSuchProcess):
            if not self._is(psutil.Process(self.pid)):
                # The number is given to somebody else only after the last of a session has ended.
                return []
        members = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.pid and _runs(member := psutil.Process(pid)):
                    members.append(member)
        return members

    def orphans(self) -> bool:
        """Whether it has ended and something it started has not."""
        return self.process() is None and bool(self.session())

    def _is(self, found: psutil.Process) -> bool:
        return abs(found.create_time() - self.started) <= _CLOCK_TOLERANCE_S


def start_detached(command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path) -> Detached:
    """Runs `command` in `folder`, its output appended to `log`."""
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    pid = os.posix_spawn(
        "/bin/sh",
        # posix_spawn has no working directory of its own.
        ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # A background shell ignores these, what it starts inherits that, and then nothing but SIGKILL would stop it.
        setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGTERM],
        setsigmask=[],
    )
    return Detached(pid=pid, started=psutil.Process(pid).create_time())


def stop_detached(processes: Sequence[Detached], *, patience_s: float) -> None:
    """Asks all of them and their descendants to end, and kills what still runs after `patience_s`."""
    for member in _sessions(processes):
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    _wait_for_end(processes, patience_s)
    # Looked for anew: somebody may have been born meanwhile.
    for member in _sessions(processes):
        with suppress(psutil.NoSuchProcess):
            member.kill()
    _wait_for_end(processes, _KILL_S)


def _sessions(processes: Sequence[Detached]) -> list[psutil.Process]:
    return [member for process in processes for member in process.session()]


def _wait_for_end(processes: Sequence[Detached], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while _sessions(processes) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)


def _runs(process: psutil.Process) -> bool:
    return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
