"""Ends the runs that died with their process: Dagster itself would hold them, and their pool slots, as running for ever."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import psutil
from dagster import DagsterRunStatus

from tokenopt_pipeline.defs.instance import code_server_socket_name, home_id
from tokenopt_pipeline.settings import read_settings

PID_TAG = "tokenopt/pid"
STARTED_TAG = "tokenopt/started"
HOME_TAG = "tokenopt/home"
_CODE_SERVER_TAG = ".dagster/grpc_info"

_UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
#: The kernel's start times are relative to a boot time in whole seconds, which moves when the clock is corrected.
_CLOCK_TOLERANCE_S = 2.0
_CONNECT_TIMEOUT_S = 5.0


def worker_tags(instance: dg.DagsterInstance) -> dict[str, str]:
    """Tags for a run that this process is about to execute itself."""
    process = psutil.Process()
    return {
        PID_TAG: str(process.pid),
        STARTED_TAG: repr(process.create_time()),
        HOME_TAG: home_id(Path(instance.root_directory)),
    }


def reap(instance: dg.DagsterInstance) -> list[str]:
    """Fails the runs of this home whose worker is gone and frees their pool slots; their ids.

    A run that was being canceled becomes canceled: as a failure, the daemon would try it again.
    """
    reaped = []
    for listed in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if not _is_ours(instance, listed.tags) or _may_have_worker(instance, listed):
            continue
        # Read again: a worker that we no longer found may have just finished its run.
        run = instance.get_run_by_id(listed.run_id)
        if run is None or run.status not in _UNFINISHED:
            continue
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of this run was gone before it could be canceled.")
        else:
            instance.report_run_failed(run, "The process of this run is gone: it was killed, or its host restarted.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        reaped.append(run.run_id)
    return reaped


def _is_ours(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> bool:
    """Whether the worker's pid is one of this machine, as far as anybody wrote it down."""
    # An embedded database is reached from its own machine only.
    if read_settings().database_url is None:
        return True
    dagster_home = Path(instance.root_directory)
    if (code_server := _code_server_socket(tags)) is not None:
        return code_server.name == code_server_socket_name(dagster_home)
    if HOME_TAG in tags:
        return tags[HOME_TAG] == home_id(dagster_home)
    return PID_TAG in tags


def _may_have_worker(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """False only on proof."""
    # Dagster copies a run's tags to its re-executions, which run elsewhere.
    executed_where_made = _CODE_SERVER_TAG not in run.tags and run.parent_run_id is None
    if executed_where_made and PID_TAG in run.tags and STARTED_TAG in run.tags:
        started = _started(int(run.tags[PID_TAG]))
        return started is not None and abs(started - float(run.tags[STARTED_TAG])) <= _CLOCK_TOLERANCE_S
    reported = _first_report(instance, run.run_id)
    if reported is not None:
        pid, reported_at = reported
        started = _started(pid)
        # The worker held its pid when it reported, so whoever got the pid afterwards is younger than the report.
        return started is not None and started <= reported_at + _CLOCK_TOLERANCE_S
    # No worker has reported yet. The code server may be about to bring it up; a dead one is not. Without any trace,
    # Dagster's own start timeout ends the run.
    code_server = _code_server_socket(run.tags)
    return code_server is None or _answers(code_server)


def _first_report(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """(pid, seconds since the epoch) of the worker's first words; later ones may be of processes it started."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if isinstance(pid, dg.TextMetadataValue) and pid.text:
            return int(pid.text), entry.timestamp
    return None


def _started(pid: int) -> float | None:
    """Seconds since the epoch; None when there is no such process or only its exit status is left."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _code_server_socket(tags: Mapping[str, str]) -> Path | None:
    path = json.loads(tags.get(_CODE_SERVER_TAG, "{}")).get("socket")
    return Path(path) if path else None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        try:
            connection.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            # It is there but full or slow.
            return True
    return True
