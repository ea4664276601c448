"""A command as a process of its own, either started cold or forked from one that has imported the product already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from threading import Lock

COMMAND = (sys.executable, "-c", "from tokenopt_pipeline.cli import main; main()")
# Two of the three seconds of a small run are imports.
_WARM = ("__main__", "tokenopt_pipeline.definitions", "tokenopt_pipeline.cli.commands", "tokenopt_pipeline.cli.running")
_WARM_TOO = (
    "tokenopt_pipeline.defs.instance",
    "tokenopt_pipeline.defs.launch",
    "dagster_postgres",
    "psycopg2",
    "upath",
    "rich",
    f"{__package__}.warm",
)
# Starting one process looks how all others are, and whoever reads an exit code at the same moment finds it gone.
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A command under way, in a session of its own."""

    pid: int
    #: Waits so many seconds at most; the exit code (negative: the signal that ended it), or None when it still runs.
    wait: Callable[[float], int | None]
    output: Path
    """Folder of the files `out` and `err`."""

    def send(self, number: signal.Signals) -> None:
        """To the command and everything it started."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """As `kill -9` does; fails when it had ended by itself."""
        assert self.wait(0) is None, self.said()
        self.send(signal.SIGKILL)
        assert self.wait(10) == -signal.SIGKILL

    def said(self) -> tuple[str, str]:
        """(stdout, stderr) so far."""
        out, err = ((self.output / name).read_text("utf-8") for name in ("out", "err"))
        return out, err


def start_cold(arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Started:
    """As a shell would."""
    folder = Path(tempfile.mkdtemp(prefix="said-", dir=cwd))
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def wait(most_s: float) -> int | None:
        try:
            return process.wait(most_s)
        except subprocess.TimeoutExpired:
            return None

    return Started(pid=process.pid, wait=wait, output=folder)


def start_warm(arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Started:
    """The same without the imports."""
    folder = Path(tempfile.mkdtemp(prefix="said-", dir=cwd))
    for name in ("out", "err"):
        (folder / name).touch()
    process = _nursery().Process(target=_be_the_command, args=(list(arguments), dict(environment), cwd, folder))
    with _ONE_AT_A_TIME:
        process.start()
    assert process.pid is not None
    # Until then it is in the session of the forkserver, and no signal to its own would reach it.
    # A command that refuses its arguments may have ended by now.
    with suppress(ProcessLookupError):
        while os.getpgid(process.pid) != process.pid:
            time.sleep(0.002)

    def wait(most_s: float) -> int | None:
        connection.wait([process.sentinel], most_s)
        with _ONE_AT_A_TIME:
            return process.exitcode

    return Started(pid=process.pid, wait=wait, output=folder)


@cache
def _nursery() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_WARM, *_WARM_TOO])
    return context


def _be_the_command(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, output: Path) -> None:
    os.setsid()
    for descriptor, path, flags in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, output / "out", os.O_WRONLY),
        (2, output / "err", os.O_WRONLY),
    ):
        os.dup2(os.open(path, flags), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    from tokenopt_pipeline.cli import main

    main()
