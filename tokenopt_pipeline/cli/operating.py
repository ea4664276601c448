"""Commands that operate the product: demo, up, down, doctor, init, migrate, policy, sandbox."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from tokenopt_pipeline.cli.exits import DEPENDENCY_MISSING, DONE, contract
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import read_settings

_DEMO_COLLECTION, _DEMO_SCHEMA = "demo", "facts-and-entities"


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")


def run_demo(console: Any) -> dict[str, Any]:
    """Ingests the shipped collection and runs one shipped schema over it; the run's summary."""
    from tokenopt_pipeline.adapters.files import shipped_path
    from tokenopt_pipeline.cli import running
    from tokenopt_pipeline.cli.ingesting import ingest_paths
    from tokenopt_pipeline.cli.workspace import Asked, open_workspace

    with open_workspace() as workspace:
        if keys := [v.key_variable for v in workspace.settings.vendors.values() if v.has_credentials]:
            raise InvalidInput(f"the demo is for the sandbox, and {keys[0]} is set: unset it, or use `tokenopt run`")
        folder = shipped_path("demo") / "collection"
        result = ingest_paths(workspace, [folder], collection=_DEMO_COLLECTION, console=console)
        console.print(f"ingested {result['files']} files, {result['blocks']:,} blocks", highlight=False)
        asked = Asked(
            collection=_DEMO_COLLECTION,
            schema=_DEMO_SCHEMA,
            policy=None,
            settings=(),
            mode="auto",
            budget=None,
            model=None,
        )
        planned = running.plan_or_find(workspace, asked, console=console)
        return running.execute(workspace, planned, console=console)


def demo_hints(run_id: str) -> list[str]:
    """What to look at after the demo."""
    return [
        f"next        tokenopt export {run_id} --format csv · tokenopt explain BLOCK_UID --run {run_id}",
        "ui          tokenopt up   (or: make up) opens the Dagster UI on http://127.0.0.1:3333; tokenopt down stops everything",
    ]


@click.command(short_help="Start the Dagster UI and all it needs, on loopback.")
@click.option("--port", default=3333, show_default=True, help="The UI's port on 127.0.0.1; 0 takes a free one.")
@click.option("--read-only", is_flag=True, help="A UI that can look and not change.")
@_AS_JSON
@contract
def up(port: int, read_only: bool, as_json: bool) -> int:
    """Start the Dagster code server, the guarded UI and the daemon, on loopback. Again: restarts only what died."""
    from tokenopt_pipeline.cli.stack import start_stack

    status = start_stack(
        read_settings(), port=port, read_only=read_only, report=lambda line: click.echo(line, err=True)
    )
    if as_json:
        click.echo(json.dumps({"url": status.url, "read_only": status.read_only, "started": list(status.started)}))
    else:
        click.echo(f"the UI is at {status.url}   (tokenopt down stops it)")
    return DONE


@click.command(short_help="Stop everything that was started; data stays.")
@_AS_JSON
@contract
def down(as_json: bool) -> int:
    """Stop what `up`, `run` and `demo` started: UI, daemon, code server, sandbox, embedded Postgres. Data stays."""
    from tokenopt_pipeline.cli.stack import stop_stack

    stopped = stop_stack(read_settings())
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return DONE


@click.command(short_help="Say what is configured, reachable and priced.")
@click.option("--policy", "policy_file", metavar="FILE", help="Look at this policy's own servers and models, too.")
@_AS_JSON
@contract
def doctor(policy_file: str | None, as_json: bool) -> int:
    """Say what is configured, reachable and priced, and what is missing. Asks providers for their list of models, which is free."""
    from tokenopt_pipeline.cli.diagnosis import diagnose

    findings = diagnose(read_settings(), policy_file)
    if as_json:
        click.echo(json.dumps(findings))
    else:
        for name, finding in findings.items():
            click.echo(f"{'ok     ' if finding['ok'] else 'MISSING'}  {name:<12} {finding['found']}")
    return DONE if all(f["ok"] for f in findings.values()) else DEPENDENCY_MISSING


@click.command(short_help="Write a policy file and the shipped schemas.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@_AS_JSON
@contract
def init(folder: Path, as_json: bool) -> int:
    """Write a policy file with every setting explained, and the shipped schemas, into FOLDER. Overwrites nothing."""
    from tokenopt_pipeline.adapters.files import shipped_schemas
    from tokenopt_pipeline.domain.policy import defaults_document

    told: dict[str, list[str]] = {"written": [], "kept": []}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "policy.yaml": defaults_document(),
            **{f"{n}.json": t for n, t in shipped_schemas().items()},
        }.items():
            path = folder / name
            word = "kept" if path.exists() else "written"
            if word == "written":
                path.write_text(text, "utf-8")
            told[word].append(str(path))
            if not as_json:
                click.echo(f"{word:<8} {path}")
    except OSError as problem:
        raise InvalidInput(f"{problem.filename or folder} cannot be written: {problem.strerror}") from problem
    if as_json:
        click.echo(json.dumps(told))
    return DONE


@click.command()
@_AS_JSON
@contract
def migrate(as_json: bool) -> int:
    """Bring the database to this version's schema. Every other command does so too."""
    from tokenopt_pipeline.adapters.postgres.server import redacted
    from tokenopt_pipeline.assembly import open_database

    database = redacted(open_database(read_settings()))
    click.echo(json.dumps({"database": database}) if as_json else f"up to date: {database}")
    return DONE


@click.group()
def policy() -> None:
    """Policy files as they were used."""


@policy.command(short_help="Who changed which policy file, when, and what.")
@click.option("--most", default=20, show_default=True, type=click.IntRange(1, 1000), help="Changes to show.")
@_AS_JSON
@contract
def log(most: int, as_json: bool) -> int:
    """Changes of the policy files that runs were made with, the newest first: who, when, and each key's old and new value."""
    from tokenopt_pipeline.adapters.postgres.policies import PostgresPolicies
    from tokenopt_pipeline.cli.telling import policy_lines
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        changes = PostgresPolicies(workspace.connection).changes(most)
    if as_json:
        click.echo(json.dumps({"changes": changes}, ensure_ascii=False, default=str))
    else:
        click.echo("\n".join(policy_lines(changes)) if changes else "no run was made with a policy file yet")
    return DONE


@click.group()
def sandbox() -> None:
    """The stand-in provider that answers when there is no key."""


@sandbox.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@contract
def serve(arguments: tuple[str, ...]) -> int:
    """Serve it in the foreground; `tokenopt sandbox serve --help` lists its options."""
    # In this very process: a signal sent to the command must reach the server, or it would live on alone.
    os.execv(sys.executable, [sys.executable, "-m", "tokenopt_pipeline.sandbox", *arguments])


COMMANDS = (up, down, doctor, init, migrate, policy, sandbox)
