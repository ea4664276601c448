"""The operated stack: code server, guarded webserver and daemon beside the database and, without a key, the sandbox."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenopt_pipeline.adapters.postgres.server import redacted
from tokenopt_pipeline.adapters.sandbox_process import SandboxProcess
from tokenopt_pipeline.assembly import open_database
from tokenopt_pipeline.cli.detached import Detached, start_detached, stop_detached
from tokenopt_pipeline.cli.stack_state import (
    StackState,
    StackUnavailable,
    alone,
    forget_state,
    read_state,
    write_state,
)
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.settings import Settings

CODE_SERVER, WEBSERVER, DAEMON = "code-server", "webserver", "daemon"
#: In the order in which they start.
PROCESSES = (CODE_SERVER, DAEMON, WEBSERVER)
LOCATION = "tokenopt_pipeline"
DEFAULT_PORT = 3333

_HOST = "127.0.0.1"
_PORT_MAX = 65_535
_LOAD_S = 60.0
_STOP_S = 10.0
_PAUSE_S = 0.05
_ANSWER_S = 20.0
_LOG_LINES = 10
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOCATIONS = """{workspaceOrError{__typename ... on Workspace{locationEntries{
  name loadStatus locationOrLoadError{__typename ... on PythonError{message}}}}}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackProcess:
    """One of the three."""

    name: str
    pid: int | None
    """None when it does not run."""
    rss_bytes: int
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """What of a home's stack runs."""

    url: str | None
    """Of the UI; None when no webserver runs."""
    read_only: bool
    processes: tuple[StackProcess, ...]
    """All three, running or not."""
    sandbox_url: str | None
    started: tuple[str, ...] = ()
    """Names of what this very call started."""

    @property
    def running(self) -> bool:
        """All three run."""
        return all(process.pid is not None for process in self.processes)


def start_stack(settings: Settings, *, port: int, read_only: bool, report: Callable[[str], None]) -> StackStatus:
    """Starts what does not run yet, and waits until the UI shows the assets; port 0 is any free one.

    A webserver on another port, or with other rights than asked, is replaced. On failure everything started here is
    stopped again, except the database and the sandbox, which others may have begun to use.

    Raises InvalidInput when the port is taken, StackUnavailable, StoreUnavailable, ProviderUnavailable.
    """
    folder = _folder(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(folder), ExitStack() as undo:
        state = read_state(folder)
        running = state.living()
        former = tuple(known for known in (*state.former, *state.processes.values()) if known.orphans())
        surroundings = _surroundings(settings)
        if running and state.surroundings != surroundings:
            raise InvalidInput(
                f"the stack of {settings.home} runs with {state.surroundings}, and not with {surroundings}: stop it first"
            )
        chosen = _choose_port(state, running, port, read_only)
        url = open_database(settings)
        report("the database answers")
        # Dagster takes a second to import, and stopping or looking must not wait for it.
        from tokenopt_pipeline.defs import instance, reaper

        environment = instance.process_environment(settings, url, os.environ)
        code_server_socket = instance.code_server_socket(settings)
        commands = _commands(folder, code_server_socket, chosen, read_only)
        state = StackState(
            port=chosen,
            read_only=read_only,
            socket=str(code_server_socket),
            surroundings=surroundings,
            processes=running,
            former=former,
        )
        undo.callback(_stop_all_but, running, folder)

        def start(name: str) -> None:
            nonlocal state
            if name in running:
                report(f"{name} runs already, pid {running[name].pid}")
                return
            process = start_detached(commands[name], environment=environment, folder=folder, log=_log(folder, name))
            state = replace(state, processes={**state.processes, name: process})
            write_state(folder, state)
            report(f"{name} starts, pid {process.pid}")

        if CODE_SERVER not in running:
            code_server_socket.unlink(missing_ok=True)
        start(CODE_SERVER)
        # Before there is a daemon: it would count the dead among the runs that hold a place in its queue.
        with instance.open_instance(settings, url) as dagster:
            for run_id in reaper.reap(dagster):
                report(f"run {run_id} had died with its process: ended")
        if not settings.has_credentials:
            SandboxProcess(settings.home).up()
            report("no provider key: the sandbox answers, every figure is simulated")
        # A daemon that finds no code server gives up on the runs that it should have repeated.
        _wait_while(_unreachable, folder, state, report)
        start(DAEMON)
        start(WEBSERVER)
        _wait_while(_not_loaded, folder, state, report)
        undo.pop_all()
    return _status(settings, tuple(name for name in PROCESSES if name not in running))


def stop_stack(settings: Settings) -> list[str]:
    """Stops the stack with all runs it executes, the sandbox and the embedded database; names of what was running."""
    folder = _folder(settings)
    stopped = []
    if folder.exists():
        with alone(folder):
            state = read_state(folder)
            stopped = [name for name in PROCESSES if name in state.processes and state.processes[name].session()]
            stop_detached([*state.processes.values(), *state.former], patience_s=_STOP_S)
            _clear_away(folder, state)
    if SandboxProcess(settings.home).down():
        stopped.append("sandbox")
    if settings.database_url is None:
        from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer

        if EmbeddedServer(settings.home / "postgres").down():
            stopped.append("database")
    return stopped


def stack_status(settings: Settings) -> StackStatus:
    """What runs; changes and waits for nothing."""
    return _status(settings, ())


def _status(settings: Settings, started: tuple[str, ...]) -> StackStatus:
    folder = _folder(settings)
    state = read_state(folder)
    running = state.living()
    return StackStatus(
        url=f"http://{_HOST}:{state.port}" if WEBSERVER in running else None,
        read_only=state.read_only,
        processes=tuple(
            StackProcess(
                name=name,
                pid=running[name].pid if name in running else None,
                rss_bytes=running[name].rss_bytes() if name in running else 0,
                log=_log(folder, name),
            )
            for name in PROCESSES
        ),
        sandbox_url=SandboxProcess(settings.home).base_url(),
        started=started,
    )


def _surroundings(settings: Settings) -> str:
    """What a process keeps from its start, for a person to read and without secrets."""
    database = redacted(settings.database_url) if settings.database_url else "the embedded database"
    configured = {n: v.base_url or n for n, v in settings.vendors.items() if v.has_credentials}
    provider = ", ".join(configured.values()) or "the sandbox"
    return f"{database} and {provider}"


def _commands(folder: Path, code_server_socket: Path, port: int, read_only: bool) -> dict[str, list[str]]:
    workspace = folder / "workspace.yaml"
    location = {"grpc_server": {"socket": str(code_server_socket), "location_name": LOCATION}}
    # JSON is YAML whose quoting is settled.
    workspace.write_text(json.dumps({"load_from": [location]}, indent=2) + "\n")
    # -P: modules come from where they are installed and never from a folder somebody stood in.
    python = [sys.executable, "-P", "-m"]
    code = ["-m", "tokenopt_pipeline.definitions", "--empty-working-directory", "--location-name", LOCATION]
    quiet = ["--log-level", "warning"]
    return {
        CODE_SERVER: [*python, "dagster", "api", "grpc", *code, "-s", str(code_server_socket), *quiet],
        WEBSERVER: [
            *python,
            "tokenopt_pipeline.defs.webserver",
            *("--port", str(port), "--workspace", str(workspace)),
            *(["--read-only"] if read_only else []),
        ],
        DAEMON: [*python, "dagster._daemon", "run", "-w", str(workspace), *quiet],
    }


def _choose_port(state: StackState, running: dict[str, Detached], port: int, read_only: bool) -> int:
    """The port to serve on. A webserver that is not as asked is stopped and leaves `running`."""
    if not 0 <= port <= _PORT_MAX:
        raise InvalidInput(f"port {port} is not between 0 and {_PORT_MAX}")
    if WEBSERVER in running:
        stays = port in (0, state.port)
        if stays and state.read_only == read_only:
            return state.port
        # A port that cannot be had is refused before what works is stopped.
        port = state.port if stays else _free_port(port)
        stop_detached([running.pop(WEBSERVER)], patience_s=_STOP_S)
    return _free_port(port)


def _free_port(port: int) -> int:
    with socket.socket() as listener:
        # As the webserver itself will ask: connections of the last one that linger do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise InvalidInput(
                f"port {port} on {_HOST} cannot be used ({error.strerror}): choose another, or 0 for any free one"
            ) from error
        return int(listener.getsockname()[1])


def _wait_while(
    obstacle: Callable[[StackState], str | None], folder: Path, state: StackState, report: Callable[[str], None]
) -> None:
    deadline = time.monotonic() + _LOAD_S
    while (reason := obstacle(state)) is not None:
        ended = sorted(state.processes.keys() - state.living().keys())
        if ended or time.monotonic() > deadline:
            for name in ended or state.processes:
                for line in _last_lines(_log(folder, name)):
                    report(f"{name}: {line}")
            reason = f"{' and '.join(ended)} ended" if ended else f"{reason}, after {_LOAD_S:.0f} s"
            raise StackUnavailable(f"the stack did not come up: {reason}; logs are in {folder}")
        time.sleep(_PAUSE_S)


def _unreachable(state: StackState) -> str | None:
    """Why nobody can ask the code server."""
    with socket.socket(socket.AF_UNIX) as code_server:
        try:
            code_server.connect(state.socket)
        except OSError as error:
            return f"the code server does not answer ({error.strerror})"
    return None


def _not_loaded(state: StackState) -> str | None:
    """Why the UI does not show the assets yet."""
    if state.living().keys() != set(PROCESSES):
        return "not all of it runs"
    # Not urllib, which would send this through a proxy of the environment.
    webserver = http.client.HTTPConnection(_HOST, state.port, timeout=_ANSWER_S)
    try:
        webserver.request(
            "POST", "/graphql", json.dumps({"query": _LOCATIONS}), headers={"Content-Type": "application/json"}
        )
        answer = webserver.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"the webserver does not answer ({error})"
    finally:
        webserver.close()
    if answer.status != http.HTTPStatus.OK:
        return f"the webserver answers {answer.status}"
    workspace: dict[str, Any] = json.loads(text)["data"]["workspaceOrError"]
    for location in workspace.get("locationEntries", ()):
        if location["name"] == LOCATION and location["loadStatus"] == "LOADED":
            found = location["locationOrLoadError"]
            return None if found["__typename"] == "RepositoryLocation" else str(found.get("message", found))
    return "the webserver still loads the code location"


def _stop_all_but(kept: Mapping[str, Detached], folder: Path) -> None:
    state = read_state(folder)
    stop_detached([known for name, known in state.processes.items() if name not in kept], patience_s=_STOP_S)
    write_state(folder, replace(state, processes=kept))


def _clear_away(folder: Path, state: StackState) -> None:
    forget_state(folder)
    if state.socket:
        code_server_socket = Path(state.socket)
        code_server_socket.unlink(missing_ok=True)
        if code_server_socket.parent != folder and code_server_socket.parent.exists():
            code_server_socket.parent.rmdir()


def _last_lines(log: Path) -> list[str]:
    text = log.read_text(errors="replace") if log.exists() else ""
    return _COLOUR.sub("", text).splitlines()[-_LOG_LINES:]


def _folder(settings: Settings) -> Path:
    return settings.home / "stack"


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"
