"""The nightly benchmark: the cells that gates are about, measured, judged and kept in the history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.files import shipped_path
from tokenopt_pipeline.adapters.postgres.benchmarks import Benchmarked, PostgresBenchmarks
from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.domain.errors import NotFound
from tokenopt_pipeline.domain.fingerprints import digest_text
from tokenopt_pipeline.domain.gates import Gates
from tokenopt_pipeline.domain.measurements import BASELINE, CellKey
from tokenopt_pipeline.measuring import charts
from tokenopt_pipeline.measuring.bench import Benchmark, Documents, run_benchmark
from tokenopt_pipeline.measuring.comparison import as_markdown
from tokenopt_pipeline.measuring.judging import TierVerdict, judge_tier, passes, tiers_of
from tokenopt_pipeline.measuring.reporting import Report, gates_text, load_gates, report_on, this_commit
from tokenopt_pipeline.measuring.verification import Verification, mode_rules, verify
from tokenopt_pipeline.settings import read_settings

_NIGHTS = 30
#: The workload whose cells are run twice: what is counted must not depend on chance, and this one takes the least time.
REPEATED = {"short_29": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A benchmark that was measured, judged and stored."""

    report: Report
    verdicts: tuple[TierVerdict, ...]
    #: File name -> PNG of dollars over nights.
    history: Mapping[str, bytes]

    @property
    def markdown(self) -> str:
        """The comparison as people read it."""
        return "\n".join(as_markdown(self.report.comparison))


def nightly_keys(gates: Gates, scenarios: Collection[str]) -> tuple[CellKey, ...]:
    """The cells of these scenarios that gates are about, with their baselines."""
    chosen = replace(gates, gates=tuple(gate for gate in gates.gates if gate.key.scenario in scenarios))
    return chosen.keys


def measure_and_keep(
    connection: Connection,
    scenarios: Collection[str],
    *,
    benchmark_id: str,
    told: Callable[[str], None] = lambda line: None,
) -> Kept:
    """Measures the cells of these scenarios and stores them with their verdicts."""
    settings, gates, store = read_settings(), load_gates(), PostgresBenchmarks(connection)
    benchmark = Benchmark(keys=nightly_keys(gates, scenarios), repeats_of=REPEATED)
    documents = Documents(shipped=shipped_path("demo") / "collection", data=settings.documents)
    measured = run_benchmark(benchmark, documents, told=told)
    report = report_on(measured, seed=benchmark.seed, commit=this_commit())
    of = Benchmarked(
        benchmark_id=benchmark_id,
        commit=report.comparison.commit,
        seed=benchmark.seed,
        gates_digest=gates_digest(),
        measured_at=SystemClock().now(),
    )
    before = store.passed_before(of)
    store.keep(of, report.rows, report.timings, passed=passes(gates, report.rows, report.timings, before))
    verdicts = tuple(judge_tier(tier, gates, report.rows, report.timings, before) for tier in tiers_of(gates))
    nights: dict[str, bytes] = {}
    for workload, blocks in sorted({(row.workload, row.blocks) for row in report.rows if row.scenario == BASELINE}):
        series = store.nights(workload, blocks, most=_NIGHTS)
        if png := charts.history(series, title=f"Dollars for {blocks} blocks of {workload} over nights, simulated"):
            nights[f"history-{workload}.png"] = png
    return Kept(report=report, verdicts=verdicts, history=nights)


def read_verification(connection: Connection) -> Verification:
    """The verification by the newest stored results. Raises NotFound when there are none."""
    gates, store = load_gates(), PostgresBenchmarks(connection)
    newest = store.newest()
    if not newest:
        raise NotFound("no benchmark has been stored yet: `tokenopt verify` measures, and so do the nightly benchmarks")
    latest = max(newest, key=lambda result: result.of.measured_at).of
    mine = [result for result in newest if result.of.benchmark_id == latest.benchmark_id]
    before = store.passed_before(replace(latest, gates_digest=gates_digest()))
    return verify(
        gates,
        [result.row for result in mine],
        [result.timing for result in mine if result.timing is not None],
        before,
        commit=latest.commit,
        seed=latest.seed,
        modes=mode_rules(),
    )


def verdict_on(connection: Connection, tier: str) -> TierVerdict:
    """The verdict on a tier's newest stored results."""
    gates, store = load_gates(), PostgresBenchmarks(connection)
    newest = store.newest()
    # What passed before the newest benchmark of the tier's own cells.
    keys = {gate.key for gate in gates.of_tier(tier)}
    latest = max((r for r in newest if r.row.key in keys), key=lambda r: r.of.measured_at, default=None)
    before = {} if latest is None else store.passed_before(replace(latest.of, gates_digest=gates_digest()))
    timings = [result.timing for result in newest if result.timing is not None]
    return judge_tier(tier, gates, [result.row for result in newest], timings, before)


def gates_digest() -> str:
    """Of the declared thresholds: changing them, with a reason, starts a new history."""
    return digest_text(gates_text())[:16]
