"""The real command line in processes of its own, as a stranger's terminal would start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tokenopt_pipeline_tests.end_to_end.started import Started, start_cold, start_warm

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "demo" / "collection"
SCHEMA = "facts-and-entities"
LINE_TEMPLATE = "line_template"
#: Nothing here takes so long; a command that hangs must fail its own test and not the whole session.
_TIMEOUT_S = 90
_BEFORE_THE_PROBLEM = ("mode ", "run ", "note ", "progress ", "resuming ", "stopping: ")
_TABLES = (
    "collection",
    "document",
    "block",
    "collection_document",
    "run",
    "shard",
    "overlay",
    "pack",
    "call",
    "ledger",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one line that says what went wrong, which is the last; before it only notes and progress of a run."""
        *before, last = self.err.splitlines()
        assert last.startswith("tokenopt: "), self.err
        assert all(line.startswith(_BEFORE_THE_PROBLEM) for line in before), self.err
        return last.removeprefix("tokenopt: ")

    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Commands with one environment and one working directory."""

    environment: Mapping[str, str]
    cwd: Path
    warm: bool = True
    """Whether processes are forked from one that has imported the product; some tests want what a shell does."""

    def but(self, **changed: str | None) -> Terminal:
        """The same with other variables; None takes one away."""
        merged = {**self.environment, **changed}
        return replace(self, environment={k: v for k, v in merged.items() if v is not None})

    def start(self, *arguments: str | Path) -> Started:
        """Starts a command and does not wait for it."""
        start = start_warm if self.warm else start_cold
        return start([str(argument) for argument in arguments], environment=self.environment, cwd=self.cwd)

    def tok(self, *arguments: str | Path, code: int | None = 0) -> Ended:
        """Runs a command to its end; `code` is the exit code it must have, None any."""
        ended = finish(self.start(*arguments))
        shown = f"{' '.join(map(str, arguments))}: {ended.code}\n{ended.out[-2000:]}\n{ended.err[-4000:]}"
        assert code is None or ended.code == code, shown
        assert "Traceback" not in ended.err + ended.out, shown
        return ended


def finish(started: Started) -> Ended:
    """Waits for a started command; one that hangs is killed and fails."""
    code = started.wait(_TIMEOUT_S)
    if code is None:
        started.kill()
        raise AssertionError(f"still running after {_TIMEOUT_S} s: {started.said()}")
    out, err = started.said()
    return Ended(code=code, out=out, err=err)


def terminal_at(home: Path, cwd: Path, **variables: str) -> Terminal:
    """A terminal with nothing but the product's home and `variables`, found from anywhere."""
    return Terminal(
        environment={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(REPOSITORY),
            "TOKENOPT_HOME": str(home),
            "HOME": str(cwd),
            **variables,
        },
        cwd=cwd,
    )


def prepare_template(template_url: str, home: Path) -> None:
    """Makes database `line_template` with the demo collection and Dagster's tables, unless it is there."""
    with psycopg.connect(template_url.replace("/tokenopt?", "/postgres?"), autocommit=True) as admin:
        if admin.execute("select 1 from pg_database where datname = %s", (LINE_TEMPLATE,)).fetchone():
            return
        admin.execute(sql.SQL("create database {} template pristine").format(sql.Identifier(LINE_TEMPLATE)))
    url = template_url.replace("/tokenopt?", f"/{LINE_TEMPLATE}?")
    terminal = terminal_at(home, home, TOKENOPT_DATABASE_URL=url)
    terminal.tok("ingest", DEMO, "--collection", "demo")
    opening = (
        "from tokenopt_pipeline.defs.instance import open_instance; from tokenopt_pipeline.settings import read_settings\n"
        f"with open_instance(read_settings(), {url!r}): pass"
    )
    subprocess.run([sys.executable, "-c", opening], check=True, env=dict(terminal.environment), cwd=home)


def counts(url: str) -> dict[str, int]:
    """Table -> rows, of the tables that anything spent or ingested would leave a trace in."""
    with psycopg.connect(url) as connection:
        found = {}
        for table in _TABLES:
            row = connection.execute(
                sql.SQL("select count(*) from {}").format(sql.Identifier("tokenopt", table))
            ).fetchone()
            found[table] = row[0] if row else 0
        return found


def scalar(url: str, query: str) -> Any:
    """The first column of the first row."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=tokenopt,public") as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None
