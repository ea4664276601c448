"""`tokenopt run`: plan or resume, materialize through Dagster, report."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tokenopt_pipeline import assembly
from tokenopt_pipeline.adapters.clock import SystemClock
from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.learning import PostgresLearning
from tokenopt_pipeline.adapters.postgres.overlays import PostgresOverlays
from tokenopt_pipeline.adapters.postgres.planning import PostgresPlanning
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.cli.batching import finish_in_sync_mode, run_in_batches
from tokenopt_pipeline.cli.exits import DONE, STOPPED, WITH_FAILURES
from tokenopt_pipeline.cli.planning import budget_lines
from tokenopt_pipeline.cli.workspace import Asked, Workspace, audit_policy_file, build_request, summaries_on
from tokenopt_pipeline.domain.errors import InvalidInput, ShardBusy, StoreUnavailable, TokenOptError
from tokenopt_pipeline.domain.overlays import OverlayStatus
from tokenopt_pipeline.domain.runs import Run, RunState, Shard, shard_key
from tokenopt_pipeline.stages.afford import tiers_within_budget, within_budget
from tokenopt_pipeline.stages.plan import learn, plan_run


def plan_or_find(workspace: Workspace, asked: Asked, *, console: Console) -> Run:
    """The run these options ask for: the unfinished one of the same inputs, else a new one."""
    request = build_request(asked, backend=assembly.open_backend(workspace.settings), connection=workspace.connection)
    clock, new_id = SystemClock(), _new_run_id()
    learned = learn(
        request,
        calls=PostgresLearning(workspace.connection),
        models=assembly.models_under(request.resolved.policy),
    )
    models = assembly.models_under(request.resolved.policy, learned)
    prices = assembly.prices_under(request.resolved.policy)
    request = within_budget(
        request,
        planning=PostgresPlanning(workspace.connection),
        models=models,
        prices=prices,
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
    )
    for line in budget_lines(tiers_within_budget(request)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    run = plan_run(
        request,
        run_id=new_id,
        collections=assembly.collections_on(workspace.connection),
        runs=PostgresRuns(workspace.connection),
        models=models,
        prices=prices,
        validators=JsonSchemaValidators(),
        tokenizer=O200kTokenizer(),
        now=clock.now(),
        learned=learned,
    )
    if asked.policy is not None:
        audit_policy_file(workspace, asked.policy)
    for note in request.schema.notes:
        console.print(f"note     {note}", markup=False, highlight=False, soft_wrap=True)
    if asked.mode == "auto":
        hours = run.policy.batches.deadline_h
        why = f"answers may take {hours:g} h (batches.deadline_h)"
        told = f"{run.mode}: {why}" + ("; each pack says why it goes as it does" if run.mode == "auto" else "")
        console.print(f"mode     {told}", markup=False, highlight=False)
    if run.run_id != new_id:
        console.print(
            f"resuming {run.run_id}, which has the same inputs and is unfinished", markup=False, highlight=False
        )
    else:
        console.print(f"run      {run.run_id}", markup=False, highlight=False)
    return run


def execute(workspace: Workspace, run: Run, *, console: Console, wait: bool = False) -> dict[str, Any]:
    """Takes the run's unfinished shards through Dagster; its summary, with `checks` beside the contract's keys.

    A run in batches ends here when all of them are submitted; with `wait`, when all have come back.
    """
    # Planning has counted; a run rarely counts again, and would hold forty megabytes beside Dagster's for as long as it takes.
    O200kTokenizer.release()
    from tokenopt_pipeline.definitions import defs
    from tokenopt_pipeline.defs.instance import open_instance
    from tokenopt_pipeline.defs.launch import LaunchResult, declare_shards, materialize_shards
    from tokenopt_pipeline.defs.reaper import reap

    summaries = summaries_on(workspace)
    # A process killed in its last moment may leave a run open whose blocks have all ended: its last shard closes it.
    unfinished = (summaries.unfinished_shards(run) or [run.n_shards - 1]) if run.state is RunState.OPEN else []
    result = LaunchResult(dagster_runs=(), checks={})
    if unfinished:
        with open_instance(workspace.settings, workspace.url) as instance:
            reap(instance)
            declare_shards(instance, [shard_key(run.run_id, n) for n in range(run.n_shards)])
            keys = [shard_key(run.run_id, n) for n in range(unfinished[0], unfinished[-1] + 1)]
            with _told(workspace, run, unfinished), _without_dagster_words(), _progress(workspace, run, console):
                if run.mode == "sync":
                    result = materialize_shards(defs.resolve_job_def("extraction"), instance, keys)
                else:
                    result = run_in_batches(workspace, run, instance, unfinished, wait=wait, console=console)
    summary = summaries.summary(run)
    summary["checks"] = {name: {"passed": p, "evaluated": n} for name, (p, n) in result.checks.items()}
    return summary


def prepare(workspace: Workspace, run: Run) -> list[str]:
    """Makes the run's shards known to Dagster, so that they can be launched from its UI; their partition keys."""
    from tokenopt_pipeline.defs.instance import open_instance
    from tokenopt_pipeline.defs.launch import declare_shards

    keys = [shard_key(run.run_id, n) for n in range(run.n_shards)]
    with open_instance(workspace.settings, workspace.url) as instance:
        declare_shards(instance, keys)
    return keys


def find_run(workspace: Workspace, run_id: str, *, collection: str | None) -> Run:
    """The run to go on with. Raises NotFound, or InvalidInput when it is over another collection or was cancelled."""
    run = PostgresRuns(workspace.connection).find(run_id)
    if collection not in (None, run.collection):
        raise InvalidInput(f"run {run_id} is over collection {run.collection!r}, not {collection!r}")
    if run.state is RunState.CANCELLED:
        raise InvalidInput(f"run {run_id} was cancelled; the same command without --resume starts another")
    return run


def in_mode(workspace: Workspace, run: Run, mode: str, *, console: Console) -> Run:
    """The run in this mode: one that was sent in batches can be finished in sync mode. Raises InvalidInput for anything else."""
    if run.mode == mode or run.state is not RunState.OPEN:
        return run
    if mode != "sync":
        raise InvalidInput(f"run {run.run_id} was planned in mode {run.mode}; it can be finished in sync mode only")
    return finish_in_sync_mode(workspace, run, console=console)


def outcome_code(summary: dict[str, Any]) -> int:
    """0, or 1 when a block failed, a check failed or exactly-one is violated, or 3 when the run was cancelled."""
    if summary["state"] == RunState.CANCELLED:
        return STOPPED
    failed_checks = any(c["passed"] < c["evaluated"] for c in summary.get("checks", {}).values())
    if summary["outcomes"][OverlayStatus.FAILED] or summary["violations"] or failed_checks:
        return WITH_FAILURES
    return DONE


def check_line(summary: dict[str, Any]) -> str:
    """How the asset checks went, naming those that failed."""
    checks = summary.get("checks", {})
    if not checks:
        waits = summary.get("batches_outstanding")
        return f"checks      not evaluated: {'answers are outstanding' if waits else 'nothing was left to do'}"
    bad = [
        f"{name} ({c['passed']} of {c['evaluated']} shards)"
        for name, c in checks.items()
        if c["passed"] < c["evaluated"]
    ]
    return f"checks      {len(checks) - len(bad)} of {len(checks)} passed" + (
        f"; FAILED: {', '.join(bad)}" if bad else ""
    )


def _new_run_id() -> str:
    return f"r{SystemClock().now():%Y%m%d}-{secrets.token_hex(3)}"


@contextmanager
def _told(workspace: Workspace, run: Run, shard_nos: Sequence[int]) -> Iterator[None]:
    """What stops a run, in the words of whoever started it. Answers stored until then end their blocks at once."""
    try:
        yield
    except ShardBusy as problem:
        raise ShardBusy(
            f"run {run.run_id} is being worked on by another process; `tokenopt status {run.run_id}` shows how far it is"
        ) from problem
    except StoreUnavailable as problem:
        raise _without_database(run, problem) from problem
    except (TokenOptError, KeyboardInterrupt):
        # A run with other settings, say a larger budget, can then reuse them: they are paid for.
        with suppress(StoreUnavailable):
            for shard_no in shard_nos:
                PostgresOverlays(workspace.connection).reconcile(Shard(run_no=run.run_no, shard_no=shard_no))
        raise
    except Exception as problem:
        # Dagster keeps its own records in the same database, and meets its end in many ways.
        try:
            with connect(workspace.url):
                pass
        except StoreUnavailable as gone:
            raise _without_database(run, gone) from problem
        raise


def _without_database(run: Run, problem: StoreUnavailable) -> StoreUnavailable:
    return StoreUnavailable(f"{problem}; once the database answers, the same command goes on with run {run.run_id}")


class _WithoutDagsterWords:
    """A stream without what Dagster writes past its own logging when its storage has gone; the error itself follows."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Exception while writing logger call") else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _without_dagster_words() -> Iterator[None]:
    with redirect_stderr(cast(TextIO, _WithoutDagsterWords(sys.stderr))):
        yield


@contextmanager
def _progress(workspace: Workspace, run: Run, console: Console) -> Iterator[None]:
    """Blocks, calls and dollars while a run goes on, read from the tables that hold them."""
    stop = threading.Event()
    thread = threading.Thread(target=_show_progress, args=(workspace.url, run, console, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def _show_progress(url: str, run: Run, console: Console, stop: threading.Event) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    every_s = 0.5 if console.is_terminal else 10.0
    with (
        # When the database goes away the run itself says so.
        suppress(StoreUnavailable),
        connect(url, application="tokenopt progress") as connection,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        summaries = PostgresSummaries(connection, tables=assembly.RunTables())
        task = progress.add_task(run.run_id, total=max(run.n_blocks, 1), text="")
        while not stop.wait(every_s):
            now = summaries.progress(run)
            done = max(now["ended"], now["answered"])
            calls = f"{now['calls']:,} call{'' if now['calls'] == 1 else 's'}"
            text = f"{done:,} of {run.n_blocks:,} blocks · {calls} · ${now['usd']:.4f} {run.kind}"
            progress.update(task, completed=done, text=text)
            if not console.is_terminal:
                console.print(f"progress {text}", markup=False, highlight=False)
