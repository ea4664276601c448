"""A benchmark written down: comparison, timings and charts in one folder, and the declared gates read."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.gates import Gates, parse_gates
from tokenopt_pipeline.domain.measurements import Row, Timing, compare, timings
from tokenopt_pipeline.measuring import charts
from tokenopt_pipeline.measuring.bench import Measured
from tokenopt_pipeline.measuring.comparison import Comparison, write_comparison

_GIT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a benchmark found, ready to be judged and written."""

    comparison: Comparison
    timings: tuple[Timing, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The comparison's rows."""
        return self.comparison.rows

    def pictures(self) -> dict[str, bytes]:
        """File name -> PNG: a cost ladder per workload, quality over cost and growth where they were measured."""
        found: dict[str, bytes | None] = {"growth.png": charts.growth(self.rows, "reference")}
        for workload in dict.fromkeys(row.workload for row in self.rows):
            found[f"cost-ladder-{workload}.png"] = charts.cost_ladder(self.rows, workload)
            found[f"pareto-{workload}.png"] = charts.pareto(self.rows, workload)
        return {name: png for name, png in found.items() if png is not None}


def report_on(measured: Measured, *, seed: int, commit: str) -> Report:
    """The report on what was measured."""
    rows = tuple(compare(measured.cells, measured.marks))
    return Report(
        comparison=Comparison(commit=commit, seed=seed, rows=rows, sources=measured.sources),
        timings=tuple(timings(measured.cells)),
    )


def write_report(folder: Path, report: Report) -> list[Path]:
    """Writes everything; the paths. Raises InvalidInput, or PlotterMissing without Pillow."""
    paths = write_comparison(folder, report.comparison, report.timings)
    for name, png in report.pictures().items():
        try:
            (folder / name).write_bytes(png)
        except OSError as problem:
            raise InvalidInput(f"{folder / name} cannot be written: {problem.strerror or problem}") from problem
        paths.append(folder / name)
    return paths


def load_gates(path: Path | None = None) -> Gates:
    """The gates that come with the product, or those in another file. Raises InvalidInput."""
    try:
        text = gates_text() if path is None else path.read_text("utf-8")
        document: Mapping[str, object] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise InvalidInput(f"gates {path or 'of this package'}: {problem}") from problem
    return parse_gates(document)


def gates_text() -> str:
    """The declared file as it stands."""
    return files("tokenopt_pipeline.measuring").joinpath("gates.toml").read_text("utf-8")


def this_commit() -> str:
    """`git describe --always --dirty` of the checkout that this package is in, or its version."""
    folder = Path(__file__).parents[2]
    with suppress(OSError, subprocess.SubprocessError):
        if (folder / ".git").exists():
            command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
            told = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)
            return told.stdout.strip()
    with suppress(PackageNotFoundError):
        return version("tokenopt_pipeline")
    return "unknown"
