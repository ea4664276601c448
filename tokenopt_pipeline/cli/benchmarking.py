"""`tokenopt benchmark` and `tokenopt verify`: tiers measured against the baseline and held against declared gates."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokenopt_pipeline.cli.exits import DONE, WITH_FAILURES, contract
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings, read_settings

if TYPE_CHECKING:
    from tokenopt_pipeline.measuring.bench import Documents

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")


@click.command(short_help="Measure tiers against the baseline.")
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--workload", "workloads", multiple=True, help="Measure on this workload; repeat it. Default: all.")
@click.option("--blocks", type=click.IntRange(1), help="Blocks of every workload; each has its own number otherwise.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1, 20), help="Runs of every cell.")
@click.option("--seed", default=0, show_default=True, help="Decides the order of cells, and nothing else.")
@click.option("--ablation", is_flag=True, help="Also everything but one tier, for every tier.")
@click.option("--growth", is_flag=True, help="Also several block counts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmark-results"),
    show_default=True,
    help="Folder for comparison.json, .csv, .md, timings.json and charts.",
)
@click.option("--live", is_flag=True, help="Ask the providers whose keys are set, and pay them. Needs --budget.")
@click.option("--budget", metavar="USD", help="What live cells may spend together, at most.")
@click.option(
    "--model", metavar="PROVIDER/MODEL", help="Ask this model for everything instead of the scenarios' tiers."
)
@_AS_JSON
@contract
def benchmark(
    *,
    scenarios: tuple[str, ...],
    workloads: tuple[str, ...],
    blocks: int | None,
    repeats: int,
    seed: int,
    ablation: bool,
    growth: bool,
    out: Path,
    live: bool,
    budget: str | None,
    model: str | None,
    as_json: bool,
) -> int:
    """Measure SCENARIOs (default: every tier alone, and everything) against the baseline, on a database and a sandbox of its own.

    The same commit and seed write the same comparison files, byte for byte; what takes time is in timings.json. Exit code 1:
    a gate that could be judged failed.
    """
    from tokenopt_pipeline.domain.gates import judge
    from tokenopt_pipeline.measuring.bench import ABLATION, GROWTH, Benchmark, keys_for, run_benchmark
    from tokenopt_pipeline.measuring.comparison import as_markdown
    from tokenopt_pipeline.measuring.reporting import load_gates, report_on, this_commit, write_report
    from tokenopt_pipeline.measuring.scenarios import TIERS
    from tokenopt_pipeline.measuring.workloads import WORKLOADS

    settings = read_settings()
    if budget is not None and not live:
        raise InvalidInput("--budget is for --live; simulated cells buy nothing")
    keys = keys_for(scenarios or (*(t.name for t in TIERS), "everything"), workloads or WORKLOADS, blocks)
    keys += (ABLATION if ablation else ()) + (GROWTH if growth else ())
    measured = run_benchmark(
        Benchmark(
            keys=keys,
            repeats=repeats,
            seed=seed,
            model=model,
            live_budget_usd=live_budget(settings, budget) if live else None,
        ),
        documents_of(settings),
        told=lambda line: click.echo(line, err=True),
    )
    report = report_on(measured, seed=seed, commit=this_commit())
    paths = write_report(out, report)
    wanted = {row.key for row in report.rows}
    judged = [judge(gate, report.rows, report.timings) for gate in load_gates().gates if gate.key in wanted]
    failed = [result.sentence for result in judged if not result.passed]
    if as_json:
        document = report.comparison.document()
        document |= {"gates": len(judged), "failed": failed, "files": [str(path) for path in paths]}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        click.echo("\n".join(as_markdown(report.comparison)))
        click.echo(f"\ngates     {len(judged) - len(failed)} of {len(judged)} passed; files in {out}")
        for sentence in failed:
            click.echo(f"FAILED    {sentence}")
    return WITH_FAILURES if failed else DONE


@click.command(short_help="PASS or FAIL of the eight locks.")
@click.option("--read", is_flag=True, help="Judge the newest stored benchmark instead of measuring.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The report; its evidence is put beside it as JSON. Default: dev-todos/_complete/…-verification.md",
)
@_AS_JSON
@contract
def verify(*, read: bool, out: Path | None, as_json: bool) -> int:
    """Measure what the declared gates are about, keep it in the history, and write the verification report.

    The exit code is the verdict: 0 all eight locks pass, 1 one fails. Nothing is bought: the sandbox answers.
    """
    import secrets

    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.cli.workspace import open_workspace
    from tokenopt_pipeline.measuring.nightly import measure_and_keep, read_verification
    from tokenopt_pipeline.measuring.scenarios import SCENARIOS
    from tokenopt_pipeline.measuring.verification import DEFAULT_PATH, write_verification

    path = DEFAULT_PATH if out is None else out
    with open_workspace() as workspace:
        if not read:
            benchmark_id = f"verify-{SystemClock().now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            measure_and_keep(
                workspace.connection,
                tuple(SCENARIOS),
                benchmark_id=benchmark_id,
                told=lambda line: click.echo(line, err=True),
            )
        found = read_verification(workspace.connection)
    write_verification(path, found)
    if as_json:
        locks = {lock.name: {"passed": lock.passed, "evidence": list(lock.evidence)} for lock in found.locks}
        click.echo(json.dumps({"passed": found.passed, "commit": found.commit, "locks": locks, "report": str(path)}))
    else:
        for lock in found.locks:
            click.echo(f"{lock.name:<14}{'PASS' if lock.passed else 'FAIL'}  {lock.kind:<10}  {lock.evidence[0]}")
        click.echo(f"{'verdict':<14}{'PASS' if found.passed else 'FAIL'}  report in {path}")
    return DONE if found.passed else WITH_FAILURES


def documents_of(settings: Settings) -> Documents:
    """Where this machine has documents to measure on."""
    from tokenopt_pipeline.adapters.files import shipped_path
    from tokenopt_pipeline.measuring.bench import Documents

    return Documents(shipped=shipped_path("demo") / "collection", data=settings.documents)


def live_budget(settings: Settings, budget: str | None) -> Decimal:
    """The dollars of `--budget`. Raises InvalidInput without one, without a key, or in a continuous integration job."""
    if settings.in_ci:
        raise InvalidInput("--live buys answers, and this is a continuous integration job (CI is set): run it by hand")
    if not settings.has_credentials:
        raise InvalidInput("--live asks paid providers, and no provider's key is set")
    try:
        dollars = Decimal(budget or "")
    except ArithmeticError:
        dollars = Decimal(0)
    if not dollars.is_finite() or dollars <= 0:
        raise InvalidInput(f"--live needs --budget USD, dollars above 0, found {budget!r}")
    return dollars


COMMANDS = (benchmark, verify)
