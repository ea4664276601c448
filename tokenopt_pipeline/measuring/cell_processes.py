"""A process per cell, forked from one that has imported what cells need: memory and CPU of a cell are its own, imports are not.

The parent and its forks talk in lines of JSON: an order with its environment in, what was measured or what went wrong out.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.errors import FatalForRun
from tokenopt_pipeline.domain.policy import Policy
from tokenopt_pipeline.domain.routing import default_model
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.measuring.cell import CellOrder, measure, peak_rss_mb
from tokenopt_pipeline.settings import read_settings

#: A cell that takes longer hangs; the operating system ends it.
_CELL_S = 600
_STOP_S = 5.0
#: Imported by an adapter when its first call is made; here before any cell is.
_IMPORTED_LATE = ("anthropic",)


class CellProcesses:
    """The process that cells are forked from, as its starter sees it."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def measure(self, order: CellOrder, environment: Mapping[str, str]) -> dict[str, Any]:
        """What a fork measured under these variables. Raises FatalForRun when it broke."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"order": asdict(order), "environment": dict(environment)}
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            said = self._process.stdout.readline()
        except BrokenPipeError:
            said = ""
        answer: dict[str, Any] = json.loads(said) if said else {"broke": "the process ended"}
        if "broke" in answer:
            told = self._log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
            why = " ".join([answer["broke"], *told])
            raise FatalForRun(f"cell {order.scenario} on {order.workload} broke: {why[:400]}")
        found: dict[str, Any] = answer["found"]
        return found


@contextmanager
def cell_processes(folder: Path, environment: Mapping[str, str]) -> Iterator[CellProcesses]:
    """Cells in processes with this environment and working directory, gone after the block."""
    log = folder / "cells.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tokenopt_pipeline.measuring.cell_processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=dict(environment),
            cwd=folder,
            text=True,
        )
    try:
        yield CellProcesses(process, log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def with_this_package(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child that finds the package where we found it, installed or not."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Forks for every order and answers it, until there are no more."""
    warm_up()
    for line in orders:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _measured_in_this_fork(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answers.write(f"{said}\n" if code == 0 and said else json.dumps({"broke": f"exit status {code}"}) + "\n")
        answers.flush()


def warm_up() -> None:
    """Loads once what every cell would load again: the vendor's SDK, the vocabulary, the price list, the model table."""
    for name in _IMPORTED_LATE:
        importlib.import_module(name)
    O200kTokenizer().count("warm")
    ref = default_model(Policy().routing)
    assembly.models_under(Policy()).spec(ref)
    assembly.prices_under(Policy()).usd(ref, TokenUsage())


def _measured_in_this_fork(asked: Mapping[str, Any], writing: int) -> None:
    code = 1
    try:
        signal.alarm(_CELL_S)
        os.environ.update(asked["environment"])
        found = measure(CellOrder(**asked["order"]), read_settings())
        if "spent" in found:
            found["spent"]["peak_rss_mb"] = peak_rss_mb()
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump({"found": found}, pipe)
        code = 0
    except Exception as problem:  # noqa: BLE001 - the fork must not go on as its parent, and the log says why it ended
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        sys.stderr.flush()
    finally:
        # Nothing of the parent may run twice: no handler, no buffer, no thread.
        os._exit(code)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
