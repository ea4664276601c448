"""`tokenopt route`: policies from recorded outcomes, and what they would have cost and got right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tokenopt_pipeline.cli.exits import DONE, WITH_FAILURES, contract
from tokenopt_pipeline.domain.errors import InvalidInput

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.outcomes import Recorded

_TIERS = ("small", "mid", "large")


def _selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--subset", metavar="SET", help="Only rows whose column `set` says so."),
        click.option(
            "--half",
            type=click.Choice(["fit", "test", "all"]),
            default="all",
            show_default=True,
            help="Half of the queries by the parity of their id's hash.",
        ),
        *(
            click.option(f"--{tier}", metavar="MODEL", help=f"The recorded model that stands for tier {tier}.")
            for tier in _TIERS
        ),
        click.option(
            "--reference", type=click.Choice(_TIERS), help="What quality and cost are measured against; the best tier."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(short_help="Routing policies from recorded outcomes.")
def route() -> None:
    """Learn which tier each task needs, and see what a policy would have cost.

    OUTCOMES is a Parquet, JSON lines or CSV file with a row per query and model (query_id, task, model, score, usd, and what
    docs/routing.md lists), or a folder with `queries` and `outcomes` as two such files.
    """


@route.command("fit", short_help="Write a policy learned from outcomes.")
@click.argument("outcomes", required=False, type=click.Path(path_type=Path))
@click.option(
    "--run", "run_ids", multiple=True, metavar="RUN", help="Learn from this run's confirmed blocks instead; repeat it."
)
@click.option(
    "--target", default="-1.0pp", show_default=True, help="The change of quality that may be expected at worst."
)
@click.option(
    "--max-spend",
    metavar="PERCENT",
    help="Instead of a target: the best quality for this share of the reference's cost.",
)
@click.option(
    "--min-rows", default=20, show_default=True, type=click.IntRange(1), help="Tasks with fewer rows are not trusted."
)
@click.option(
    "--checks/--no-checks", default=True, show_default=True, help="Whether doubtful answers may be asked again."
)
@click.option(
    "--thresholds/--no-thresholds", default=True, show_default=True, help="Whether a task may be split by block length."
)
@click.option(
    "--complexity/--no-complexity",
    default=True,
    show_default=True,
    help="Whether a task may be split by its schemas' complexity.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The policy file to write; stdout when not given."
)
@_selection_options
@contract
def fit_policy(
    *,
    outcomes: Path | None,
    run_ids: tuple[str, ...],
    target: str,
    max_spend: str | None,
    min_rows: int,
    checks: bool,
    thresholds: bool,
    complexity: bool,
    out: Path | None,
    reference: str | None,
    as_json: bool,
    **selection: Any,
) -> int:
    """Learn a tier per task from recorded outcomes, and write a policy file to read, diff and use.

    The cheapest choice is taken whose quality is expected to stay within --target of always asking the best tier. What a
    task shows is drawn towards what all tasks show, and a task with too few rows stays at the best tier, with the reason
    beside it. Exit code 1: the aim is not reached even so.
    """
    from tokenopt_pipeline.cli.routing_figures import fitted_document, fitted_lines
    from tokenopt_pipeline.domain.fitted_policy import policy_text
    from tokenopt_pipeline.domain.fitting import FitSettings, fit

    if (outcomes is None) == (not run_ids):
        raise click.UsageError("Name either a file of outcomes or runs with --run RUN.")
    recorded = _recorded(outcomes, selection) if outcomes is not None else _of_runs(run_ids)
    settings = FitSettings(
        reference=_reference(reference, recorded),
        target=_points(target),
        max_spend=None if max_spend is None else _share(max_spend),
        min_rows=min_rows,
        by_block_type=any(row.facts.block_type != "other" for row in recorded.rows),
        checks=checks,
        thresholds=thresholds,
        complexity=complexity,
    )
    fitted = fit(recorded.rows, settings)
    text = policy_text(fitted, source=recorded.source, models=recorded.models)
    if out is not None:
        _write(out, text)
    if as_json:
        click.echo(json.dumps(fitted_document(fitted, recorded, out)))
    elif out is None:
        click.echo(text, nl=False)
    click.echo("\n".join(fitted_lines(fitted, recorded)), err=out is None or as_json)
    reached = settings.max_spend is not None or fitted.change.mean >= settings.target
    return DONE if reached else WITH_FAILURES


@route.command("backtest", short_help="What a policy would have cost and got right.")
@click.argument("policy")
@click.argument("outcomes", type=click.Path(path_type=Path))
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw quality over cost into this PNG file."
)
@_selection_options
@contract
def backtest_policy(
    *, policy: str, outcomes: Path, plot: Path | None, reference: str | None, as_json: bool, **selection: Any
) -> int:
    """Replay POLICY on OUTCOMES, beside always-small, always-mid, always-large, random at the same spend, and the oracle.

    `random` is the best blind mixture of whole tiers that costs the same; `perfect-check` goes up the tiers until an answer
    is right; `oracle` knows the cheapest right answer in hindsight. Figures are recorded.
    """
    from tokenopt_pipeline.adapters.files import resolve_policy
    from tokenopt_pipeline.cli.routing_figures import backtest_document, backtest_lines, draw_pareto
    from tokenopt_pipeline.domain.backtesting import backtest

    routing = resolve_policy(policy).policy.routing
    measured = routing.measured
    if measured is not None and not any(selection[tier] for tier in _TIERS):
        selection.update(measured.models)
    recorded = _recorded(outcomes, selection)
    used = {routing.default_tier, *(t for rule in routing.rules for t in _tiers_of(rule))}
    if absent := sorted(used - set(recorded.models)):
        raise InvalidInput(
            f"policy {policy} sends blocks to tier {absent[0]}, and no model was recorded for it: name one with --{absent[0]}"
        )
    result = backtest(routing, recorded.rows, reference=_reference(reference, recorded))
    if plot is not None:
        draw_pareto(plot, result, recorded)
    if as_json:
        click.echo(json.dumps(backtest_document(result, recorded, plot)))
    else:
        click.echo("\n".join(backtest_lines(result, recorded)))
        if plot is not None:
            click.echo(f"plot        {plot}")
    return DONE


def _tiers_of(rule: Any) -> tuple[str, ...]:
    passes = rule.two_pass
    return (rule.tier,) if passes is None else (passes.classifier, passes.simple, passes.complex)


def _recorded(outcomes: Path, selection: Mapping[str, Any]) -> Recorded:
    from tokenopt_pipeline.adapters.outcomes import Selection, read_outcomes
    from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer

    models = {tier: selection[tier] for tier in _TIERS if selection.get(tier)}
    chosen = Selection(subset=selection["subset"], half=selection["half"], models=models)
    return read_outcomes(outcomes, chosen, tokenizer=O200kTokenizer())


def _of_runs(run_ids: tuple[str, ...]) -> Recorded:
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.adapters.outcomes import Recorded
    from tokenopt_pipeline.adapters.postgres.reviews import PostgresReviews
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import open_workspace
    from tokenopt_pipeline.domain.reviews import rows_of_reviews

    with open_workspace() as workspace:
        runs = [PostgresRuns(workspace.connection).find(run_id) for run_id in dict.fromkeys(run_ids)]
        if other := next((r for r in runs if r.schema.schema_hash != runs[0].schema.schema_hash), None):
            raise InvalidInput(f"runs {runs[0].run_id} and {other.run_id} asked different schemas: fit them apart")
        if other := next((r for r in runs if r.kind != runs[0].kind), None):
            raise InvalidInput(
                f"runs {runs[0].run_id} and {other.run_id} are of different kinds: simulated and live never mix"
            )
        violation = JsonSchemaValidators().violation_of(runs[0].schema)
        answers = PostgresReviews(workspace.connection).answers(runs, violation=violation)
    rows, models = rows_of_reviews(answers)
    source = (
        f"{runs[0].kind} run{'s' if len(runs) > 1 else ''} {', '.join(run.run_id for run in runs)}, reviewed blocks"
    )
    ordered = {tier: models[tier] for tier in _TIERS if tier in models}
    return Recorded(rows=tuple(rows), models=ordered, incomplete=0, source=source)


def _reference(asked: str | None, recorded: Recorded) -> str:
    """The tier asked for, or the one with the best mean score; the cheaper one of two that are equal."""
    rows = recorded.rows
    tier = asked or max(recorded.models, key=lambda t: sum(row.tiers[t].score for row in rows))
    if tier not in recorded.models:
        raise InvalidInput(f"--reference {tier}: that tier was not recorded; {', '.join(recorded.models)} were")
    if not any(row.tiers[tier].usd for row in rows):
        raise InvalidInput(f"every answer of tier {tier} costs nothing, so nothing can be saved against it")
    return tier


def _points(text: str) -> float:
    """`-1.0pp`, percentage points, as a share."""
    found = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)\s*(?:pp)?", text.strip())
    if found is None or not -100 <= float(found.group(1)) <= 100:
        raise InvalidInput(f"--target {text!r}: write percentage points, for example -1.0pp")
    return float(found.group(1)) / 100


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.strip())
    if found is None or not 0 < float(found.group(1)) <= 100:
        raise InvalidInput(f"--max-spend {text!r}: write a percentage above 0 up to 100, for example 60%")
    return float(found.group(1)) / 100


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, "utf-8")
        # Whoever reads the file sees the old one or the whole new one.
        part.replace(path)
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be written: {problem.strerror}") from problem


COMMANDS = (route,)
