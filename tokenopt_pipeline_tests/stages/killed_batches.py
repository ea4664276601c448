"""A process that works on a shard's batches and is killed at a named point, for tests that go on after it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.anthropic_batches import AnthropicBatches
from tokenopt_pipeline.adapters.google_batches import GoogleBatches
from tokenopt_pipeline.adapters.openai_batches import OpenAIBatches
from tokenopt_pipeline.adapters.postgres.batch_results import PostgresBatchResults
from tokenopt_pipeline.adapters.postgres.calls import PostgresCalls
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.overlays import PostgresOverlays
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline.sandbox.in_process import Control, Sandbox
from tokenopt_pipeline_tests.postgres_servers import wait_until
from tokenopt_pipeline_tests.stages.batch_rig import BatchRig, MovedClock
from tokenopt_pipeline_tests.stages.rig import Rig

_PROCESSES = multiprocessing.get_context("forkserver")
# What the product imports when it is first needed would be imported again by every process that is killed.
_LATER = ("anthropic", "openai", "google.genai", "genai_prices", "mcp.client.streamable_http")
_PROCESSES.set_forkserver_preload([f"{__package__}.killed_batches", f"{__package__}.killed_rounds", *_LATER])
_TIMEOUT_S = 90

#: In the order in which a run meets them.
POINTS = (
    "before the provider is asked",
    "after the provider accepted",
    "during the download",
    "during the import",
    "during the settlement",
    "during the reconciliation",
)


def die() -> None:
    """Nothing is closed, rolled back or written any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def work_until_killed(*, url: str, base_url: str, vendor: str, run_id: str, ahead_s: float, point: str) -> None:
    """All that a process does for a shard, until the point."""
    sandbox = Sandbox(base_url=base_url, control=Control(base_url=base_url))
    with connect(url) as connection:
        rig = BatchRig(rig=Rig(connection=connection), sandbox=sandbox, vendor=vendor, clock=MovedClock(ahead_s))
        _arm(point)
        run = PostgresRuns(connection).find(run_id)
        shard = Shard(run_no=run.run_no, shard_no=0)
        line = rig.line()
        rig.watch(line)
        # What was adopted just now is looked at as well.
        rig.watch(line)
        line.advance(run, shard)
        line.reconcile(run, shard)


def killed(
    batches: BatchRig, url: str, run_id: str, point: str, *, work: Callable[..., None] = work_until_killed
) -> None:
    """A process of its own does the work until the point, and is killed there with SIGKILL."""
    arguments = {
        "url": url,
        "base_url": batches.sandbox.base_url,
        "vendor": batches.vendor,
        "run_id": run_id,
        "ahead_s": batches.clock.ahead_s,
        "point": point,
    }
    process = _PROCESSES.Process(target=work, kwargs=arguments)
    process.start()
    process.join(_TIMEOUT_S)
    assert process.exitcode == -signal.SIGKILL, (point, process.exitcode)
    # The server notices within a second that its client is gone.
    others = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    wait_until(lambda: batches.rig.one(others) == 0)


def _arm(point: str) -> None:
    """Makes the point deadly."""
    makers: tuple[Any, ...] = (AnthropicBatches, OpenAIBatches, GoogleBatches)
    for maker in makers:
        if point == POINTS[0]:
            maker.create = lambda self, **_: die()
        if point == POINTS[1]:
            maker.create = _dying_after(maker.create)
        if point == POINTS[2]:
            maker.download = _dying_half_way(maker.download)
    if point == POINTS[3]:
        PostgresBatchResults.import_results = _dying_in_the_copy(PostgresBatchResults.import_results)  # type: ignore[method-assign]
    if point == POINTS[4]:
        PostgresCalls._keep = _dying_the_third_time(PostgresCalls._keep)  # type: ignore[method-assign]
    if point == POINTS[5]:
        PostgresOverlays.reconcile = lambda self, shard: die()  # type: ignore[assignment,method-assign,return-value]


def _dying_after(do: Any) -> Any:
    def done(*args: Any, **kwargs: Any) -> None:
        do(*args, **kwargs)
        die()

    return done


def _dying_half_way(download: Any) -> Any:
    def half(self: Any, batch_id: str, to: Path, **rest: Any) -> None:
        download(self, batch_id, to, **rest)
        os.truncate(to, to.stat().st_size // 2)
        die()

    return half


def _dying_in_the_copy(import_results: Any) -> Any:
    def lines(found: Iterable[Any]) -> Iterator[Any]:
        for i, line in enumerate(found):
            if i == 2:
                die()
            yield line

    return lambda self, batch, found, **rest: import_results(self, batch, lines(found), **rest)


def _dying_the_third_time(keep: Any) -> Any:
    kept: list[int] = []

    def counted(*args: Any) -> None:
        keep(*args)
        kept.append(1)
        if len(kept) == 3:
            # The third answer's transaction is open.
            die()

    return counted
