"""Postgres servers that tests start and take away again, also as root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from tokenopt_pipeline.adapters.postgres import embedded_binaries
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer

#: Characters that break a URL, a libpq string or a log when somebody forgets to quote.
PLAIN_PASSWORD = "p@ss/w:rd +%'\\?#&=ü"
_SUPERUSER_PASSWORD = "only-for-tests"
_START_TIMEOUT_S = 60
#: Several processes of tests, each with a server and a few dozen databases of 10 MB, and what their logs take.
_ROOM_BYTES = 8 << 30


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(0.01)


@cache
def place() -> Path:
    """Where servers of tests live: in memory where there is room, since a database is copied ten times as fast there."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return Path("/tmp")
    return memory if shutil.disk_usage(memory).free >= _ROOM_BYTES else Path("/tmp")


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """An empty folder that the unprivileged user of a server started by root can enter; pytest's own are 0700."""
    folder = Path(tempfile.mkdtemp(prefix="tokenopt-test-", dir=place())).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def postmaster_pid(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text().split()[0])


@contextmanager
def embedded_home() -> Iterator[Path]:
    """A home for embedded servers; one that still runs at the end, there or where the product puts its own, is stopped."""
    with reachable_folder() as home:
        try:
            yield home
        finally:
            for folder in (home, home / "postgres"):
                EmbeddedServer(folder).down()


@contextmanager
def database_copy(url: str, name: str, *, template: str = "pristine") -> Iterator[str]:
    """The URL of a copy of the template on the server behind `url`, gone at the end."""
    copy, source = sql.Identifier(name), sql.Identifier(template)
    with psycopg.connect(url.replace("/tokenopt?", "/postgres?"), autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(copy))
        admin.execute(sql.SQL("create database {} template {}").format(copy, source))
        yield url.replace("/tokenopt?", f"/{name}?")
        admin.execute(sql.SQL("drop database {} with (force)").format(copy))


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpServer:
    """A server on loopback with passwords, like the ones that teams share."""

    host: str
    port: int
    superuser_url: str
    """Database `postgres`; others with `psycopg.connect(superuser_url, dbname=...)`."""

    def plain_url(self, database: str, password: str = PLAIN_PASSWORD) -> str:
        """For role `plain`, which may do nothing but own databases."""
        return f"postgresql://plain:{quote(password, safe='')}@{self.host}:{self.port}/{database}"

    def create_database(self, database: str, *, owner: str = "plain") -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            names = sql.Identifier(database), sql.Identifier(owner)
            connection.execute(sql.SQL("create database {} owner {}").format(*names))


@contextmanager
def tcp_server() -> Iterator[TcpServer]:
    """Takes about a second to start, so share it: each test creates a database of its own."""
    with reachable_folder() as folder:
        data = folder / "data"
        account = embedded_binaries.account_for(data)
        binaries = embedded_binaries.binaries_for(account, folder)
        data.mkdir(mode=0o700)
        password_file = folder / "password"
        password_file.write_text(_SUPERUSER_PASSWORD)
        if account:
            os.chown(data, account.uid, account.gid)
        _run_initdb(binaries, data, password_file, account)
        port = _free_port()
        process = _start(binaries, data, port, account, folder / "log")
        try:
            url = f"postgresql://postgres:{_SUPERUSER_PASSWORD}@127.0.0.1:{port}/postgres"
            wait_until(lambda: process.poll() is not None or _answers(url), _START_TIMEOUT_S)
            assert process.poll() is None, (folder / "log").read_text()
            _create_plain_role(url)
            yield TcpServer(host="127.0.0.1", port=port, superuser_url=url)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _run_initdb(binaries: Path, data: Path, password_file: Path, account: embedded_binaries.Account | None) -> None:
    subprocess.run(
        [
            *(binaries / "initdb", "-D", data, "-U", "postgres", "--pwfile", password_file, "--no-sync"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        ],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _start(
    binaries: Path, data: Path, port: int, account: embedded_binaries.Account | None, log: Path
) -> subprocess.Popen[bytes]:
    settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [binaries / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))],
            cwd="/",
            stdout=output,
            stderr=output,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _create_plain_role(superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        password = sql.Literal(PLAIN_PASSWORD)
        connection.execute(sql.SQL("create role plain login nosuperuser nocreatedb password {}").format(password))
