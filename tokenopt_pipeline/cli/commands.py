"""The commands of `tokenopt` and their options."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from tokenopt_pipeline.cli.exits import BAD_INPUT, DONE, WITH_FAILURES, ContractGroup, contract

AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout; progress goes to stderr."
)


def _run_options(command: Callable[..., Any], *, required: bool = True) -> Callable[..., Any]:
    options = (
        click.argument("collection", required=required),
        click.option(
            "--schema", required=required, metavar="REF", help="A schema file, or the name of a shipped schema."
        ),
        click.option("--policy", metavar="FILE", help="A YAML file of policy settings (`tokenopt init` writes one)."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="One policy setting, such as packing.pack_size=25; may be repeated.",
        ),
        click.option("--model", metavar="PROVIDER/MODEL", help="Ask this model for everything."),
        click.option(
            "--mode",
            type=click.Choice(["sync", "async", "auto"]),
            default="auto",
            show_default=True,
            help="How answers come: one by one, in batches at half price within a day, or as the policy's batches section says.",
        ),
        click.option("--budget", metavar="USD", help="Stop before the run could cost more than this."),
        AS_JSON,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, default=str))


@click.group(cls=ContractGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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


@tokenopt.command(short_help="Read files and folders into a collection.")
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
            f"{collection}: {result['files']:,} file{_s(result['files'])}, {result['blocks']:,} block{_s(result['blocks'])}; "
            f"{documents['new']:,} new document{_s(documents['new'])}, {documents['known']:,} known under a new name, "
            f"{documents['unchanged']:,} unchanged, {len(result['refused']):,} refused"
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


@tokenopt.command(short_help="Extract: one answer, skip or failure per block.")
@partial(_run_options, required=False)
@click.option("--resume", metavar="RUN", help="Go on with this run, under the schema and settings it was planned with.")
@click.option(
    "--prepare",
    "only_prepare",
    is_flag=True,
    help="Make the run and its shards, and leave launching to the Dagster UI.",
)
@click.option("--wait", is_flag=True, help="Stay until all batches have come back; otherwise they are only submitted.")
@contract
def run(as_json: bool, resume: str | None, only_prepare: bool, wait: bool, **options: Any) -> int:
    """Extract: one answer, skip or failure for every block of COLLECTION, through Dagster.

    The same command again goes on where an unfinished run stopped; after a finished one it asks only what is new. A run in
    async mode ends here when its batches are submitted: `tokenopt up` collects them, and --resume RUN --mode sync asks
    what is left without them.
    """
    from tokenopt_pipeline.cli import running
    from tokenopt_pipeline.cli.workspace import Asked, open_workspace

    _refuse_too_few_or_many(resume, options)
    console = _console()
    with open_workspace() as workspace:
        if resume is not None:
            planned = running.find_run(workspace, resume, collection=options["collection"])
            if options["mode"] != "auto":
                planned = running.in_mode(workspace, planned, options["mode"], console=console)
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
        summary = running.execute(workspace, planned, console=console, wait=wait)
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
    return running.outcome_code(summary)


def _refuse_too_few_or_many(resume: str | None, options: dict[str, Any]) -> None:
    if resume is None:
        missing = next((name for name in ("collection", "schema") if options[name] is None), None)
        if missing is not None:
            wanted = "COLLECTION" if missing == "collection" else "--schema REF"
            raise click.UsageError(f"{wanted} is missing: name a collection and a schema, or a run with --resume RUN.")
        return
    given = next((name for name in ("policy", "settings", "model", "budget") if options[name]), None)
    if given is not None:
        option = "--set" if given == "settings" else f"--{given}"
        raise click.UsageError(f"{option} cannot be given with --resume: a run keeps the settings it was planned with.")


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
    from tokenopt_pipeline.cli.workspace import open_workspace, summaries_on

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


@tokenopt.command(short_help="One block's whole story in a run.")
@click.argument("block_uid")
@click.option("--run", "run_id", required=True, metavar="RUN", help="The run whose story of the block to tell.")
@AS_JSON
@contract
def explain(block_uid: str, run_id: str, as_json: bool) -> int:
    """One block's whole story: decision, pack, route, calls, caches, tokens, dollars, output.

    `tokenopt export RUN --format csv` lists the blocks and their BLOCK_UID, <document id>:<index>.
    """
    from tokenopt_pipeline.adapters.postgres.cache_stories import PostgresCacheStories
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
    from tokenopt_pipeline.assembly import RunTables
    from tokenopt_pipeline.cli.telling import add_cache_outcomes, story_lines
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        found = PostgresRuns(workspace.connection).find(run_id)
        story = PostgresStories(workspace.connection).of_block(found, block_uid)
        add_cache_outcomes(story, PostgresCacheStories(workspace.connection, tables=RunTables()).of(found))
    if as_json:
        _print_json(story)
    else:
        click.echo("\n".join(story_lines(story)))
    return DONE


@tokenopt.command(short_help="Every block of a run and what was extracted.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Whole records, or flat ones with a column per property.",
)
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
@AS_JSON
@contract
def export(run_id: str, form: str, out: Path | None, everything: bool, as_json: bool) -> int:
    """Every block of RUN in document order: what it is, what became of it, and the values extracted from it."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
    from tokenopt_pipeline.cli.telling import write_export
    from tokenopt_pipeline.cli.workspace import open_workspace

    if as_json and out is None:
        raise click.UsageError("--json says what was written, so the records need a file: name one with --out.")
    with open_workspace() as workspace:
        found = PostgresRuns(workspace.connection).find(run_id)
        records = PostgresStories(workspace.connection).export(found, confirmed_only=not everything)
        count = write_export(records, form=form, out=out, properties=list(found.schema.properties))
    if as_json:
        _print_json({"run": run_id, "format": form, "out": str(out), "blocks": count})
    click.echo(f"{count:,} blocks{'' if out is None else f' in {out}'}", err=True)
    return DONE


@tokenopt.command(short_help="Ingest the shipped collection and run over it.")
@AS_JSON
@contract
def demo(as_json: bool) -> int:
    """Ingest the shipped collection and extract facts from it; asks nothing of you."""
    from tokenopt_pipeline.cli.operating import demo_hints, run_demo
    from tokenopt_pipeline.cli.running import outcome_code

    summary = run_demo(_console())
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
        click.echo("\n".join(demo_hints(summary["run"])))
    return outcome_code(summary)


def _add_operating_commands() -> None:
    # In files of their own: they operate the product, prepare its references, learn from it or measure it; these use it.
    from tokenopt_pipeline.cli import (
        batching,
        benchmarking,
        indexing,
        mcp_serving,
        operating,
        reviewing,
        routing,
        webhooks_serving,
    )

    groups = (
        operating.COMMANDS,
        reviewing.COMMANDS,
        indexing.COMMANDS,
        routing.COMMANDS,
        batching.COMMANDS,
        benchmarking.COMMANDS,
    )
    for command in (*(command for group in groups for command in group), mcp_serving.mcp, webhooks_serving.webhooks):
        tokenopt.add_command(command)


_add_operating_commands()
