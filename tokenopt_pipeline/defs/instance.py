"""Dagster's home, and the environment that makes a process one of this home's Dagster processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

import tokenopt_pipeline
from tokenopt_pipeline.adapters.postgres.server import dagster_url, ensure_dagster_schema, one_at_a_time
from tokenopt_pipeline.defs.pools import PROVIDERS
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings

_CONFIGURATION = "dagster.yaml"
_DATABASE_VARIABLE = "TOKENOPT_DATABASE_URL"
#: sun_path holds 104 bytes on macOS and 108 on Linux.
_SOCKET_MAX_BYTES = 103
#: Dagster's own values for its webserver.
_POOL_RECYCLE_S, _POOL_OVERFLOW = 3600, 20


def dagster_environment(settings: Settings, url: str) -> dict[str, str]:
    """What Dagster and our own code read, once its home and its schema in the database at `url` exist.

    Secrets travel in the environment alone: Dagster shows its configuration in the UI and keeps it in the event log.
    """
    home = _dagster_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    _install_configuration(home)
    ensure_dagster_schema(url)
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_PG_URL": dagster_url(url),
        # One statement per 200 events instead of one each: a ranged run writes thousands.
        "DAGSTER_EVENT_BATCH_SIZE": "200",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "TOKENOPT_HOME": str(settings.home),
        # Embedded, the home is enough: whoever is first after a crash starts the server again.
        **({_DATABASE_VARIABLE: settings.database_url} if settings.database_url else {}),
    }


def process_environment(settings: Settings, url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: `inherited` under ours, without a database URL that is not ours."""
    kept = {name: value for name, value in inherited.items() if name != _DATABASE_VARIABLE}
    return {**kept, **dagster_environment(settings, url)}


@contextmanager
def open_instance(settings: Settings, url: str) -> Iterator[dg.DagsterInstance]:
    """This process as one of the home's Dagster processes; its own environment comes back afterwards."""
    ours = dagster_environment(settings, url)
    before = {name: os.environ.get(name) for name in (*ours, _DATABASE_VARIABLE)}
    os.environ.pop(_DATABASE_VARIABLE, None)
    os.environ.update(ours)
    try:
        with dg.DagsterInstance.get() as instance:
            # Dagster opens a connection for every statement otherwise, some three hundred for one small run.
            instance.optimize_for_webserver(
                statement_timeout=0, pool_recycle=_POOL_RECYCLE_S, max_overflow=_POOL_OVERFLOW
            )
            declare_pool(instance, url)
            yield instance
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def declare_pool(instance: dg.DagsterInstance, url: str) -> None:
    """Makes the pool, or gives it the default limit that `dagster.yaml` has now; a limit that somebody set stays.

    Dagster does this when a step first asks for a slot, and on Postgres the second of two processes that do so at once
    fails, as does every process after the default was changed (`initialize_concurrency_limit_to_default` goes on in a
    transaction that its own unique index has ended; 1.13).
    """
    if _is_pool_right(instance):
        return
    with one_at_a_time(url):
        if not _is_pool_right(instance):
            instance.event_log_storage.delete_concurrency_limit(PROVIDERS)
            instance.event_log_storage.initialize_concurrency_limit_to_default(PROVIDERS)


def home_id(dagster_home: Path) -> str:
    """Tells this home from others whose runs are in the same database; made once, and it survives a new host name."""
    with (dagster_home / "home_id").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = file.read()
        if not found:
            found = secrets.token_hex(4)
            file.write(found)
    return found


def code_server_socket_name(dagster_home: Path) -> str:
    """Dagster tags the runs it launches with their code server's socket, so this name says whose they are."""
    return f"code-{home_id(dagster_home)}.sock"


def code_server_socket(settings: Settings) -> Path:
    """Where the code server listens; the folder is only for us, because whoever reaches the socket runs code.

    Raises InvalidInput when that folder is somebody else's.
    """
    name = code_server_socket_name(_dagster_home(settings))
    folder = settings.home / "stack"
    # Too long for a socket, or with characters that gRPC reads as part of a URI. Not the temporary folder of the
    # environment: every process must find the same one.
    if len(os.fsencode(folder / name)) > _SOCKET_MAX_BYTES or not re.fullmatch(r"[A-Za-z0-9_./+-]+", str(folder)):
        folder = Path(f"/tmp/tokenopt-stack-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if (found.st_uid, found.st_mode) != (os.geteuid(), stat.S_IFDIR | 0o700):
        raise InvalidInput(f"{folder} must be a folder that only you may enter: remove it, or chmod 700 it")
    return folder / name


def _dagster_home(settings: Settings) -> Path:
    return settings.home / "dagster"


def _install_configuration(home: Path) -> None:
    shipped, installed = _shipped_configuration(), home / _CONFIGURATION
    if installed.exists() and installed.read_bytes() == shipped.read_bytes():
        return
    # Replaced in one step, because a Dagster process may be reading it.
    draft = installed.with_name(f"{_CONFIGURATION}.{os.getpid()}")
    shutil.copyfile(shipped, draft)
    draft.replace(installed)


def _shipped_configuration() -> Path:
    package = Path(next(iter(tokenopt_pipeline.__path__)))
    in_wheel = package / "instance" / _CONFIGURATION
    return in_wheel if in_wheel.exists() else package.parent / _CONFIGURATION


def _is_pool_right(instance: dg.DagsterInstance) -> bool:
    found = next((p for p in instance.event_log_storage.get_pool_limits() if p.name == PROVIDERS), None)
    if found is None:
        return False
    return not found.from_default or found.limit == instance.global_op_concurrency_default_limit
