"""A run that died with its process is ended; one that may still be worked on is left alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest
from dagster import DagsterRunStatus
from dagster._core.events import DagsterEvent, EngineEventData

from tokenopt_pipeline.defs.instance import code_server_socket, home_id, open_instance
from tokenopt_pipeline.defs.reaper import HOME_TAG, PID_TAG, STARTED_TAG, reap, worker_tags
from tokenopt_pipeline.settings import Settings
from tokenopt_pipeline_tests.postgres_servers import reachable_folder, wait_until

POOL = "held"
#: Executes a run that holds a slot of the pool until a line arrives. The second argument: whether it signs the run.
WORKER = """
import sys
from pathlib import Path
import dagster as dg
from tokenopt_pipeline.defs.instance import open_instance
from tokenopt_pipeline.defs.reaper import worker_tags
from tokenopt_pipeline.settings import Settings

home, url, signs = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "signed"

@dg.op(pool="held")
def waiting():
    print("holding", flush=True)
    sys.stdin.readline()

@dg.job
def held():
    waiting()

settings = Settings(home=home, database_url=None, vendors={})
with open_instance(settings, url) as instance:
    held.execute_in_process(instance=instance, tags=worker_tags(instance) if signs else {})
"""


@dg.job
def anything() -> None:
    pass


@pytest.fixture(scope="module")
def url(embedded_server: tuple[str, Path]) -> str:
    template, _ = embedded_server
    with psycopg.connect(template.replace("/tokenopt?", "/postgres?"), autocommit=True) as connection:
        connection.execute("create database reaped")
    return template.replace("/tokenopt?", "/reaped?")


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with reachable_folder() as home:
        yield Settings(home=home, database_url=None, vendors={})


@pytest.fixture(scope="module")
def instance(settings: Settings, url: str) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings, url) as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
        yield instance


@contextmanager
def worker(settings: Settings, url: str, *, signs: bool) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, str(settings.home), url, "signed" if signs else "unsigned"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
            yield process
        finally:
            process.kill()


def status(instance: dg.DagsterInstance, run_id: str) -> DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def held_slots(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


def latest(instance: dg.DagsterInstance) -> str:
    return next(iter(instance.get_runs(limit=1))).run_id


def made(
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    parent: str | None = None,
) -> dg.DagsterRun:
    return instance.create_run_for_job(anything, status=status, tags=tags, parent_run_id=parent, root_run_id=parent)


def dead_tags(instance: dg.DagsterInstance) -> dict[str, str]:
    """Of a process whose number has been given to this one."""
    return {**worker_tags(instance), STARTED_TAG: repr(psutil.Process().create_time() - 60)}


def report_pid(instance: dg.DagsterInstance, run: dg.DagsterRun, *, at: float) -> None:
    """As the worker of a code server does first."""
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=run.job_name,
        message="Started process for run.",
        event_specific_data=EngineEventData.in_process(os.getpid()),
    )
    instance.report_dagster_event(event, run.run_id, timestamp=at)


def launched_from(path: Path) -> dict[str, str]:
    return {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(path)})}


@pytest.mark.parametrize("signs", [True, False], ids=["signed", "known by its events"])
def test_a_run_is_left_alone_while_its_process_lives_and_fails_and_frees_its_slot_when_it_was_killed(
    settings: Settings, url: str, instance: dg.DagsterInstance, signs: bool
) -> None:
    with worker(settings, url, signs=signs) as process:
        run_id = latest(instance)
        assert reap(instance) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (status(instance, run_id), held_slots(instance)) == (DagsterRunStatus.STARTED, 1)

    assert reap(instance) == [run_id]

    assert (status(instance, run_id), held_slots(instance)) == (DagsterRunStatus.FAILURE, 0)
    assert reap(instance) == []


def test_a_worker_that_is_a_zombie_is_gone(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        started = psutil.Process(process.pid).create_time()
        run = made(instance, {PID_TAG: str(process.pid), STARTED_TAG: repr(started)})
        assert reap(instance) == []
        process.kill()
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert reap(instance) == [run.run_id]


def test_a_signed_run_is_not_believed_alive_because_of_a_reused_pid(instance: dg.DagsterInstance) -> None:
    run = made(instance, dead_tags(instance))
    assert reap(instance) == [run.run_id]


def test_a_launched_run_is_not_believed_alive_because_of_a_pid_reused_after_it_reported(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    lives, died = (made(instance, launched_from(code_server_socket(settings))) for _ in range(2))
    born = psutil.Process().create_time()
    report_pid(instance, lives, at=time.time())  # noqa: TID251  # events carry the real time
    report_pid(instance, died, at=born - 60)
    assert reap(instance) == [died.run_id]
    instance.report_run_failed(lives)


def test_a_run_that_was_being_canceled_becomes_canceled(instance: dg.DagsterInstance) -> None:
    """As a failure, the daemon would launch it again."""
    run = made(instance, dead_tags(instance), DagsterRunStatus.CANCELING)
    assert reap(instance) == [run.run_id]
    assert status(instance, run.run_id) == DagsterRunStatus.CANCELED


def test_a_run_about_to_be_started_is_left_alone_while_its_code_server_answers(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    path = code_server_socket(settings)
    run = made(instance, launched_from(path), DagsterRunStatus.STARTING)
    with socket.socket(socket.AF_UNIX) as code_server:
        code_server.bind(os.fspath(path))
        code_server.listen()
        assert reap(instance) == []
    assert reap(instance) == [run.run_id]
    path.unlink()


def test_a_run_without_any_trace_of_a_worker_is_left_alone(instance: dg.DagsterInstance) -> None:
    run = made(instance, {}, DagsterRunStatus.STARTING)
    assert reap(instance) == []
    instance.report_run_failed(run)


def test_a_re_execution_is_not_judged_by_the_tags_of_the_run_it_repeats(instance: dg.DagsterInstance) -> None:
    parent = made(instance, dead_tags(instance), DagsterRunStatus.FAILURE)
    again = made(instance, dead_tags(instance), parent=parent.run_id)
    report_pid(instance, again, at=time.time())  # noqa: TID251  # events carry the real time
    assert reap(instance) == []
    instance.report_run_failed(again)


def test_a_run_that_finished_while_we_looked_stays_finished(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(instance, dead_tags(instance))
    instance.report_run_canceled(run)
    monkeypatch.setattr(instance, "get_runs", lambda _: [run])
    assert reap(instance) == []
    assert status(instance, run.run_id) == DagsterRunStatus.CANCELED


def test_in_a_shared_database_runs_of_other_homes_are_left_alone(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their pids are of other machines."""
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", "postgresql://shared/database")
    nowhere = settings.home / "nowhere"
    foreign = [
        made(instance, {**dead_tags(instance), HOME_TAG: "another"}),
        made(instance, launched_from(nowhere / "code-another.sock")),
    ]
    ours = [
        made(instance, dead_tags(instance)),
        made(instance, launched_from(nowhere / f"code-{home_id(settings.home / 'dagster')}.sock")),
    ]
    assert sorted(reap(instance)) == sorted(run.run_id for run in ours)
    for run in foreign:
        assert status(instance, run.run_id) == DagsterRunStatus.STARTED
        instance.report_run_failed(run)
