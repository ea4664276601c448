"""What is written down about the stack of a home, so that the next command finds it again. No secret is among it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tokenopt_pipeline.cli.detached import Detached
from tokenopt_pipeline.domain.errors import TransientError

_FILE = "state.json"


class StackUnavailable(TransientError):
    """A process of the stack did not come up, or nobody knows which ones run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """As of the last start."""

    port: int = 0
    read_only: bool = False
    socket: str = ""
    """Of the code server."""
    surroundings: str = ""
    """Which database and which provider the processes were started with."""
    processes: Mapping[str, Detached] = field(default_factory=dict)
    former: tuple[Detached, ...] = ()
    """Ended themselves, but runs they started have not."""

    def living(self) -> dict[str, Detached]:
        """By name."""
        return {name: process for name, process in self.processes.items() if process.process() is not None}


def read_state(folder: Path) -> StackState:
    """Empty when nothing was started since the last `forget_state`. Raises StackUnavailable."""
    file = folder / _FILE
    if not file.exists():
        return StackState()
    try:
        written = json.loads(file.read_text())
        processes = {name: Detached(**process) for name, process in written.pop("processes").items()}
        former = tuple(Detached(**process) for process in written.pop("former"))
        # What an older version did not write yet has its default.
        return StackState(processes=processes, former=former, **written)
    except (ValueError, TypeError, KeyError) as error:
        raise StackUnavailable(f"{file} is damaged: stop the processes of this home by hand and remove it") from error


def write_state(folder: Path, state: StackState) -> None:
    """In one step: a reader sees the old or the new one."""
    draft = folder / f"{_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(state)))
    draft.replace(folder / _FILE)


def forget_state(folder: Path) -> None:
    """Nothing runs any more."""
    (folder / _FILE).unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One starter or stopper at a time; the kernel drops the lock of one that was killed."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
