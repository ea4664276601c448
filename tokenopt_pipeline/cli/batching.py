"""Runs in async mode, and `tokenopt batches`: what is outstanding at providers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from tokenopt_pipeline.cli.exits import DONE, contract
from tokenopt_pipeline.domain.batches import Batch, BatchState
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound
from tokenopt_pipeline.domain.runs import Run, RunState, shard_key

if TYPE_CHECKING:
    import dagster as dg

    from tokenopt_pipeline.cli.workspace import Workspace
    from tokenopt_pipeline.defs.launch import LaunchResult
    from tokenopt_pipeline.stages.line import Line
    from tokenopt_pipeline.stages.watch import Watched

# Between two looks while somebody waits: neither busy nor asleep.
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_UNDER_WAY = (BatchState.INTENDED, BatchState.SUBMITTED)


def run_in_batches(
    workspace: Workspace,
    run: Run,
    instance: dg.DagsterInstance,
    unfinished: Sequence[int],
    *,
    wait: bool,
    console: Console,
) -> LaunchResult:
    """Submits the run's unfinished shards, takes in what has ended, and goes on until all has when somebody waits for it."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import summaries_on
    from tokenopt_pipeline.definitions import defs
    from tokenopt_pipeline.defs.launch import LaunchResult, collect_batches, materialize_shards

    keys = [shard_key(run.run_id, n) for n in range(unfinished[0], unfinished[-1] + 1)]
    launched = [materialize_shards(defs.resolve_job_def("submission"), instance, keys)]
    job, line = defs.resolve_job_def("batch_collection"), line_of(workspace)
    shards: Sequence[int] = unfinished
    while True:
        look(workspace, line, _of(run, line))
        launched.append(collect_batches(job, instance, [shard_key(run.run_id, n) for n in shards]))
        shards = summaries_on(workspace).unfinished_shards(run)
        waiting = [batch for batch in _of(run, line) if batch.state in _UNDER_WAY]
        is_open = PostgresRuns(workspace.connection).find(run.run_id).state is RunState.OPEN
        if not shards or not wait or not is_open or not _of(run, line):
            break
        console.print(_waiting_line(waiting, line.clock.now()), markup=False, highlight=False)
        line.clock.sleep(_LONGEST_WAIT_S if not waiting else _wait_s(waiting, line), unless=lambda: False)
    checks: dict[str, tuple[int, int]] = {}
    for result in launched:
        for name, (passed, evaluated) in result.checks.items():
            before = checks.get(name, (0, 0))
            checks[name] = (before[0] + passed, before[1] + evaluated)
    runs = tuple(dagster_run for result in launched for dagster_run in result.dagster_runs)
    return LaunchResult(dagster_runs=runs, checks=checks)


def finish_in_sync_mode(workspace: Workspace, run: Run, *, console: Console) -> Run:
    """The run in sync mode from now on: its batches are cancelled, and what comes of them after all is no second answer."""
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns

    store, line = PostgresBatches(workspace.connection), line_of(workspace)
    packs = store.set_run_mode(run, mode="sync", reason="It was then finished in sync mode.")
    PostgresRuns(workspace.connection).set_mode(run.run_no, "sync")
    cancelled = store.unwant(run_no=run.run_no, now=line.clock.now())
    look(workspace, line, _of(run, line))
    console.print(
        f"mode     sync from now on: {packs} packs are asked again, {cancelled} batches are cancelled",
        markup=False,
        highlight=False,
    )
    return PostgresRuns(workspace.connection).find(run.run_id)


def cancel_batches(workspace: Workspace, run: Run) -> int:
    """Has a cancelled run's batches cancelled; how many. What they have done by then is kept when it is collected."""
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches

    line = line_of(workspace)
    cancelled = PostgresBatches(workspace.connection).unwant(run_no=run.run_no, now=line.clock.now())
    if cancelled:
        look(workspace, line, _of(run, line))
    return cancelled


def line_of(workspace: Workspace) -> Line:
    """The stages, with whoever the environment names."""
    from tokenopt_pipeline import assembly

    return assembly.line_on(workspace.connection, assembly.open_backend(workspace.settings))


def look(workspace: Workspace, line: Line, batches: Sequence[Batch]) -> Watched:
    """Looks at those of the batches that are under way, whenever they are due."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns

    return line.watch([b for b in batches if b.state in _UNDER_WAY], PostgresRuns(workspace.connection).numbered)


def _of(run: Run, line: Line) -> list[Batch]:
    return [batch for batch in line.batching.book.open_batches() if batch.run_no == run.run_no]


def _wait_s(waiting: Sequence[Batch], line: Line) -> float:
    soonest = min((line.batching.look_at(batch) - line.clock.now()).total_seconds() for batch in waiting)
    return min(max(soonest, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)


def _waiting_line(waiting: Sequence[Batch], now: datetime) -> str:
    oldest = max(((now - batch.intended_at).total_seconds() for batch in waiting), default=0.0)
    return f"waiting  {len(waiting)} batch{'' if len(waiting) == 1 else 'es'} under way, the oldest for {oldest / 3600:.2f} h"


@click.group(short_help="What is outstanding at providers.")
def batches() -> None:
    """Batches that were handed to providers and are not taken in yet.

    `tokenopt up` looks at them and collects what has ended; so does `tokenopt batches collect`, once.
    """


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")


@batches.command("list")
@click.option("--run", "run_id", metavar="RUN", help="All batches of this run, those that are closed as well.")
@_AS_JSON
@contract
def list_batches(run_id: str | None, as_json: bool) -> int:
    """What is outstanding, as it was when it was last looked at."""
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        if run_id is not None:
            PostgresRuns(workspace.connection).find(run_id)
        told = [_document(row) for row in PostgresBatches(workspace.connection).told(run_id)]
    if as_json:
        click.echo(json.dumps({"batches": told}))
    else:
        click.echo("\n".join(map(_line, told)) if told else "nothing is outstanding")
    return DONE


@batches.command("adopt")
@_AS_JSON
@contract
def adopt(as_json: bool) -> int:
    """Look now for batches whose making was interrupted: they are found by their tag, or by the ids in their results."""
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        line = line_of(workspace)
        intents = [b for b in line.batching.book.open_batches() if b.state is BatchState.INTENDED]
        watched = look(workspace, line, intents)
    told = {"intents": len(intents), "adopted": watched.adopted, "unborn": watched.unborn, "problems": watched.problems}
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(
            f"{len(intents)} intents: {watched.adopted} adopted, {watched.unborn} were never made, the others wait"
        )
        for provider, problem in watched.problems.items():
            click.echo(f"{provider}: {problem}", err=True)
    return DONE


@batches.command("cancel")
@click.argument("batch_no", type=int)
@_AS_JSON
@contract
def cancel(batch_no: int, as_json: bool) -> int:
    """Have batch BATCH_NO cancelled at its provider. What is done by then is kept; the rest goes into the next round."""
    from tokenopt_pipeline.adapters.postgres.batches import PostgresBatches
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        line = line_of(workspace)
        found = next((b for b in line.batching.book.open_batches() if b.batch_no == batch_no), None)
        if found is None:
            raise NotFound(f"no batch {batch_no} is outstanding; `tokenopt batches list` shows which are")
        if found.state is BatchState.ENDED:
            raise InvalidInput(f"batch {batch_no} has ended; `tokenopt batches collect` takes in its results")
        PostgresBatches(workspace.connection).unwant(batch_no=batch_no, now=line.clock.now())
        watched = look(workspace, line, [b for b in line.batching.book.open_batches() if b.batch_no == batch_no])
    if as_json:
        click.echo(json.dumps({"batch": batch_no, "cancelling": True, "problems": watched.problems}))
    else:
        # One whose id is not known yet is cancelled when it is found: nothing else may be.
        click.echo(f"batch {batch_no}: " + ("; ".join(watched.problems.values()) or "its end is asked for"))
    return DONE


@batches.command("collect")
@_AS_JSON
@contract
def collect(as_json: bool) -> int:
    """Look at all that is outstanding and take in what has ended, once, as the sensor does."""
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import open_workspace
    from tokenopt_pipeline.definitions import defs
    from tokenopt_pipeline.defs.instance import open_instance
    from tokenopt_pipeline.defs.launch import collect_batches, declare_shards
    from tokenopt_pipeline.defs.reaper import reap

    with open_workspace() as workspace:
        line, runs = line_of(workspace), PostgresRuns(workspace.connection)
        watched = look(workspace, line, line.batching.book.open_batches())
        ended = {(b.run_no, b.shard_no) for b in line.batching.book.open_batches() if b.state is BatchState.ENDED}
        keys = [shard_key(runs.numbered(run_no).run_id, shard_no) for run_no, shard_no in sorted(ended)]
        if keys:
            with open_instance(workspace.settings, workspace.url) as instance:
                reap(instance)
                declare_shards(instance, keys)
                collect_batches(defs.resolve_job_def("batch_collection"), instance, keys)
        left = len(line.batching.book.open_batches())
    told = {"looked": watched.looked, "collected": keys, "outstanding": left, "problems": watched.problems}
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(f"{watched.looked} batches looked at, {len(keys)} shards collected, {left} batches outstanding")
        for provider, problem in watched.problems.items():
            click.echo(f"{provider}: {problem}", err=True)
    return DONE


@click.command("cancel")
@click.argument("run_id", metavar="RUN")
@_AS_JSON
@contract
def cancel_run(run_id: str, as_json: bool) -> int:
    """End RUN where it stands. Answers that were stored stay, batches are cancelled; nothing more is asked."""
    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        runs = PostgresRuns(workspace.connection)
        cancelled = runs.cancel(run_id, now=SystemClock().now())
        cancel_batches(workspace, runs.find(run_id))
    if as_json:
        click.echo(json.dumps({"run": run_id, "cancelled": cancelled}))
    else:
        click.echo(f"{run_id}: {'cancelled' if cancelled else 'it had ended before'}")
    return DONE


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"batch": row["batch_no"], "run": row["run_id"], "shard": row["shard_no"]}
    rest = {k: v for k, v in row.items() if k not in ("batch_no", "run_id", "shard_no")}
    return {**renamed, **{k: _plain(v) for k, v in rest.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | str) else float(value)


def _line(told: Mapping[str, Any]) -> str:
    done = "—" if told["n_done"] is None else f"{told['n_done']:,}"
    problem = f"  {told['problem']}" if told["problem"] else ""
    first = "  goes first for the others" if told["primes"] else ""
    state = told["state"] if told["outcome"] is None else f"{told['state']} ({told['outcome']})"
    return (
        f"{told['batch']:>6}  {told['run']} shard {told['shard']}  {told['model']}  round {told['round']}  {state:<20}  "
        f"{done} of {told['n_requests']:,}  since {told['intended_at'][:19]}  {told['batch_id'] or '—'}{first}{problem}"
    )


COMMANDS = (batches, cancel_run)
