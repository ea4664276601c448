"""What cells are measured on: a Postgres server and a sandbox of the benchmark's own, gone with it.

A benchmark never touches the user's database: what earlier runs taught and answered would change what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tokenopt_pipeline.adapters.postgres import migrations
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.adapters.postgres.migrate import migrate
from tokenopt_pipeline.adapters.postgres.server import ensure_vector
from tokenopt_pipeline.domain.errors import ProviderUnavailable
from tokenopt_pipeline.measuring.cell import CellOrder
from tokenopt_pipeline.measuring.cell_processes import CellProcesses, cell_processes, with_this_package

#: Seconds until the sandbox's first token: the public peer measurements' latency, so that waits can be compared.
LATENCY_S = 0.05
_START_S, _CONTROL_S = 30.0, 10.0
_TEMPLATE = "cell_template"
_RECORDINGS = "recordings.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A running stand."""

    server_url: str
    #: Where the sandbox answers; None: the environment's own providers do, and are paid.
    sandbox_url: str | None
    #: What every cell's process finds in its environment beside its database.
    environment: Mapping[str, str]
    cells: CellProcesses
    #: What recorded models are said to have answered; the sandbox reads it once, when the first of them is asked.
    recordings: Path

    @property
    def replay_url(self) -> str | None:
        """Where recorded models answer."""
        return None if self.sandbox_url is None else f"{self.sandbox_url}/custom/v1"

    def forget(self) -> None:
        """Makes every prompt cold again."""
        if self.sandbox_url is not None:
            self._control("POST", "reset")

    def faults(self, plan: Mapping[str, Any]) -> None:
        """What goes wrong from now on, in the sandbox's own words."""
        self._control("PUT", "faults", json.dumps(plan).encode())

    def measure(self, order: CellOrder) -> dict[str, Any]:
        """What a process of its own measured of the cell, on an empty database. Raises FatalForRun when it breaks."""
        with self.database() as url:
            return self.cells.measure(order, {"TOKENOPT_DATABASE_URL": url})

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty, migrated database, gone after the block."""
        with psycopg.connect(_other(self.server_url, "postgres"), autocommit=True) as admin:
            name = f"cell_{os.getpid()}_{time.monotonic_ns()}"
            admin.execute(sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, _TEMPLATE))))
            try:
                yield _other(self.server_url, name)
            finally:
                admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _control(self, method: str, name: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self.sandbox_url}/control/{name}", data=body, method=method)
        # A proxy from the environment is not asked about this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_CONTROL_S):
            pass


@contextmanager
def open_stand(*, live: bool = False, place: Path = Path("/tmp")) -> Iterator[Stand]:
    """A stand in a folder below `place`, for the length of the block. Raises StoreUnavailable or ProviderUnavailable when a part does not come up."""
    # Not the temporary folder of the environment: a socket's path must be short, and Postgres may run as another user.
    folder = Path(tempfile.mkdtemp(prefix="tokenopt-bench-", dir=place)).resolve()
    try:
        server = EmbeddedServer(folder / "postgres", top=folder)
        try:
            url = server.up()
            _make_template(url)
            with nullcontext() if live else _sandbox(folder) as sandbox_url:
                environment = _cell_environment(folder, sandbox_url)
                with cell_processes(folder, environment) as cells:
                    yield Stand(
                        server_url=url,
                        sandbox_url=sandbox_url,
                        environment=environment,
                        cells=cells,
                        recordings=folder / _RECORDINGS,
                    )
        finally:
            server.down()
    finally:
        shutil.rmtree(folder)


def _make_template(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        ensure_vector(connection)
    migrate(url, Path(next(iter(migrations.__path__))))
    # A database can only be copied while nobody is connected to it, so nobody may.
    with psycopg.connect(_other(url, "postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template tokenopt allow_connections false").format(sql.Identifier(_TEMPLATE))
        )


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    """A sandbox in a process of its own, so that its CPU is not ours."""
    port_file, config, log = folder / "port", folder / "sandbox.json", folder / "sandbox.log"
    config.write_text(json.dumps({"latency_s": LATENCY_S, "replay": str(folder / _RECORDINGS)}))
    command = [sys.executable, "-m", "tokenopt_pipeline.sandbox", "--port", "0"]
    command += ["--port-file", str(port_file), "--config", str(config)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=with_this_package(os.environ))
    try:
        deadline = time.monotonic() + _START_S
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ProviderUnavailable(f"the sandbox did not start: {log.read_text(errors='replace')[-300:]}")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}"
    finally:
        process.terminate()
        process.wait()


def _cell_environment(folder: Path, sandbox_url: str | None) -> dict[str, str]:
    """What every cell's process finds in its environment beside its database."""
    ours = {"TOKENOPT_HOME": str(folder / "home")}
    if sandbox_url is not None:
        ours |= {
            "ANTHROPIC_API_KEY": "sandbox",
            "ANTHROPIC_BASE_URL": f"{sandbox_url}/anthropic",
            "OPENAI_API_KEY": "sandbox",
            "OPENAI_BASE_URL": f"{sandbox_url}/openai/v1",
        }
    return with_this_package({**os.environ, **ours})


def _other(url: str, database: str) -> str:
    return url.replace("/tokenopt?", f"/{database}?")
