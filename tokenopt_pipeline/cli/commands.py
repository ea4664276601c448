"""The commands of `tokenopt` and their options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tokenopt_pipeline.cli.exits import BAD_INPUT, DONE, WITH_FAILURES, contract

AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout; progress goes to stderr."
)


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.argument("collection"),
        click.option("--schema", required=True, metavar="REF", help="A schema file, or the name of a shipped schema."),
        click.option("--policy", metavar="FILE", help="A YAML file of policy settings (`tokenopt init` writes one)."),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="One policy setting; may be repeated."
        ),
        click.option("--model", metavar="PROVIDER/MODEL", help="Ask this model for everything."),
        click.option("--mode", type=click.Choice(["sync", "async", "auto"]), default="auto", show_default=True),
        click.option("--budget", metavar="USD", help="Stop before the run could cost more than this."),
        AS_JSON,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, default=str))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tokenopt_pipeline")
def tokenopt() -> None:
    """LLM extraction over documents at the lowest cost that keeps every answer right.

    \b
    Start:      tokenopt demo
    Your own:   tokenopt ingest docs/ --collection mine
                tokenopt plan mine --schema contract-clauses
                tokenopt run  mine --schema contract-clauses --budget 5
                tokenopt export RUN --format csv --out answers.csv
    See it:     tokenopt up

    With ANTHROPIC_API_KEY set, calls go to Anthropic and cost money; without a key a local sandbox answers and every
    figure says simulated. Data lives in TOKENOPT_HOME, or in the Postgres of TOKENOPT_DATABASE_URL.

    Exit codes: 0 done, 1 finished with failures, 2 bad input, 3 stopped by budget or cancel, 4 a dependency is missing.
    """


@tokenopt.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--collection", required=True, help="The collection to add the documents to; made when it is new.")
@AS_JSON
@contract
def ingest(paths: tuple[Path, ...], collection: str, as_json: bool) -> int:
    """Read files and folders (.md .txt .html .docx .pdf, or .jsonl of blocks) into a collection.

    The same bytes again change nothing; a changed file gets a new document and the old one is kept. A file that cannot be
    read is named with its reason, and the others go on.
    """
    from tokenopt_pipeline.cli.ingesting import ingest_paths
    from tokenopt_pipeline.cli.workspace import open_workspace

    console = _console()
    with open_workspace() as workspace:
        result = ingest_paths(workspace, paths, collection=collection, console=console)
    documents = result["documents"]
    if as_json:
        _print_json(result)
    else:
        click.echo(
            f"{collection}: {result['files']} files, {result['blocks']:,} blocks; {documents['new']} new documents, "
            f"{documents['known']} known under a new name, {documents['unchanged']} unchanged, {len(result['refused'])} refused"
        )
    if not result["refused"]:
        return DONE
    return BAD_INPUT if len(result["refused"]) == result["files"] else WITH_FAILURES


@tokenopt.command()
@_run_options
@contract
def plan(as_json: bool, **options: Any) -> int:
    """Predict what a run would ask and cost. Nothing is spent, nothing is written."""
    from tokenopt_pipeline.cli.planning import plan_document, plan_lines
    from tokenopt_pipeline.cli.workspace import Asked, open_workspace

    with open_workspace() as workspace:
        document = plan_document(workspace, Asked(**options))
    if as_json:
        _print_json(document)
    else:
        click.echo("\n".join(plan_lines(document)))
    return DONE


@tokenopt.command()
@_run_options
@click.option("--resume", metavar="RUN", help="Go on with this run; the other options are then taken from it.")
@click.option(
    "--prepare",
    "only_prepare",
    is_flag=True,
    help="Make the run and its shards, and leave launching to the Dagster UI.",
)
@contract
def run(as_json: bool, resume: str | None, only_prepare: bool, **options: Any) -> int:
    """Extract: one answer, skip or failure for every block of COLLECTION, through Dagster.

    The same command again goes on where an unfinished run stopped; after a finished one it asks only what is new.
    """
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli import running
    from tokenopt_pipeline.cli.workspace import Asked, open_workspace

    console = _console()
    with open_workspace() as workspace:
        if resume is not None:
            planned = PostgresRuns(workspace.connection).find(resume)
        else:
            planned = running.plan_or_find(workspace, Asked(**options), console=console)
        if only_prepare:
            keys = running.prepare(workspace, planned)
            if as_json:
                _print_json({"run": planned.run_id, "partitions": keys})
            else:
                click.echo(
                    f"{planned.run_id}: partitions {keys[0]} to {keys[-1]} of job extraction; `tokenopt up` opens the UI"
                )
            return DONE
        summary = running.execute(workspace, planned, console=console)
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
    return running.outcome_code(summary)


def _print_summary(summary: dict[str, Any]) -> None:
    from tokenopt_pipeline.cli.figures import summary_lines
    from tokenopt_pipeline.cli.running import check_line

    lines = summary_lines(summary)
    click.echo("\n".join([*lines, check_line(summary)] if "checks" in summary else lines))


@tokenopt.command()
@click.argument("run", required=False)
@AS_JSON
@contract
def status(run: str | None, as_json: bool) -> int:
    """Where RUN stands, in figures; without RUN the newest runs."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.running import summaries_on
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        summaries = summaries_on(workspace)
        if run is None:
            recent = summaries.recent()
            if as_json:
                _print_json({"runs": recent})
            else:
                for r in recent:
                    click.echo(
                        f"{r['run_id']}  {r['created_at'][:19]}  {r['state']:<9}  {r['kind']:<9}  {r['n_blocks']:>9,} blocks  {r['schema']} over {r['collection']}"
                    )
                if not recent:
                    click.echo("no runs yet; `tokenopt demo` makes one")
            return DONE
        summary = summaries.summary(PostgresRuns(workspace.connection).find(run))
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
    return DONE


@tokenopt.command()
@click.argument("block_uid")
@click.option("--run", "run_id", required=True)
@AS_JSON
@contract
def explain(block_uid: str, run_id: str, as_json: bool) -> int:
    """One block's whole story: decision, pack, route, calls, tokens, dollars, output."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
    from tokenopt_pipeline.cli.telling import story_lines
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        found = PostgresRuns(workspace.connection).find(run_id)
        story = PostgresStories(workspace.connection).of_block(found, block_uid)
    if as_json:
        _print_json(story)
    else:
        click.echo("\n".join(story_lines(story)))
    return DONE


@tokenopt.command()
@click.argument("run_id", metavar="RUN")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; standard output when not given."
)
@click.option(
    "--all/--confirmed",
    "everything",
    default=True,
    show_default=True,
    help="Model values too, or only what a person confirmed.",
)
@contract
def export(run_id: str, form: str, out: Path | None, everything: bool) -> int:
    """Every block of RUN in document order: what it is, what became of it, and the values extracted from it."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
    from tokenopt_pipeline.cli.telling import write_export
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        found = PostgresRuns(workspace.connection).find(run_id)
        records = PostgresStories(workspace.connection).export(found, confirmed_only=not everything)
        count = write_export(records, form=form, out=out, properties=list(found.schema.properties))
    click.echo(f"{count:,} blocks{'' if out is None else f' in {out}'}", err=True)
    return DONE


@tokenopt.command()
@click.argument("run_id", metavar="RUN")
@contract
def cancel(run_id: str) -> int:
    """End RUN where it stands. Answers that were stored stay; nothing more is asked."""
    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        cancelled = PostgresRuns(workspace.connection).cancel(run_id, now=SystemClock().now())
    click.echo(f"{run_id}: {'cancelled' if cancelled else 'it had ended before'}")
    return DONE


@tokenopt.command()
@contract
def demo() -> int:
    """Ingest the shipped collection and extract facts from it; asks nothing of you."""
    from tokenopt_pipeline.cli.operating import run_demo

    return run_demo(_console(), _print_summary)


def _add_operating_commands() -> None:
    # In a file of their own: they operate the product, these here use it.
    from tokenopt_pipeline.cli.operating import COMMANDS

    for command in COMMANDS:
        tokenopt.add_command(command)


_add_operating_commands()
