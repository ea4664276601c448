"""The Postgres server in the product's home: whoever needs it first starts it, everybody shares it, only `down` stops it.

Every process of the server inherits a lock on `server.lock`, so that the kernel and not a pid file says whether one still lives.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from tokenopt_pipeline.adapters.postgres import embedded_binaries
from tokenopt_pipeline.adapters.postgres.embedded_binaries import Account
from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable

DATABASE = "tokenopt"

#: Names the socket file; the server listens on no network.
_PORT = 5432
_PAUSE_S = 0.02
#: sun_path holds 104 bytes on macOS and 108 on Linux, and the socket's own name takes 15 of them.
_SOCKET_FOLDER_MAX_BYTES = 88
_LOG_FILES_KEPT = 4
_MIB = 1 << 20


class EmbeddedServer:
    """One Postgres server and its data below one home folder."""

    def __init__(self, home: Path, *, top: Path | None = None) -> None:
        """`top`: the product's folder around `home`, which may be made passable for the server's account; default `home`."""
        self._home = home.expanduser().resolve()
        self._top = (top or home).expanduser().resolve()
        self._data = self._home / "data"
        self._start_log = self._home / "start.log"
        self._sockets = _socket_folder(self._data)

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(str(self._sockets))}&port={_PORT}"

    def alive(self) -> bool:
        return self._answers("postgres")

    def up(self, wait_s: float = 300) -> str:
        """The URL of a server that answers, started if need be; crash recovery may take much of `wait_s`."""
        if self._answers(DATABASE):
            return self.url()
        deadline = time.monotonic() + wait_s
        with _store_errors(self._home):
            account = embedded_binaries.account_for(self._data)
            self._home.mkdir(parents=True, exist_ok=True)
            with self._alone(deadline):
                self._serve(account, deadline)
                self._create_database()
        return self.url()

    def down(self, wait_s: float = 120) -> bool:
        """Disconnect everybody and stop; False if there was nothing to stop."""
        deadline = time.monotonic() + wait_s
        with _store_errors(self._home):
            if not self._data.exists():
                return False
            embedded_binaries.account_for(self._data)
            with self._alone(deadline):
                return self._stop(deadline)

    def _answers(self, database: str) -> bool:
        # Another server may listen where ours should (a copied home): only the data directory identifies it.
        try:
            with psycopg.connect(self.url(database), connect_timeout=5, autocommit=True) as connection:
                return connection.execute("show data_directory").fetchone() == (str(self._data),)
        except psycopg.OperationalError as error:
            return any(full in str(error) for full in ("too many clients", "slots are reserved"))

    def _serve(self, account: Account | None, deadline: float) -> None:
        started = False
        while not self.alive():
            with self._claim() as claim:
                if claim is not None and self._postmaster() is None:
                    if started and "shared memory block" not in (reason := self._last_words()):
                        raise StoreUnavailable(f"the server in {self._data} did not start: {reason}")
                    self._start(account, claim)
                    started = True
            self._pause(deadline, f"the server in {self._data} does not answer yet, see {self._data / 'log'}")

    def _stop(self, deadline: float) -> bool:
        if not self._running():
            return False
        told = None
        while self._running():
            pid = self._postmaster()
            if pid is not None and pid != told:
                os.kill(pid, signal.SIGINT)
                told = pid
            self._pause(deadline, f"the server in {self._data} is still stopping, see {self._data / 'log'}")
        if self._sockets != self._data and not any(self._sockets.iterdir()):
            self._sockets.rmdir()
        return True

    def _start(self, account: Account | None, claim: int) -> None:
        if account:
            embedded_binaries.let_in(account, self._home, top=self._top)
        binaries = embedded_binaries.binaries_for(account, self._home)
        self._own_socket_folder(account)
        if not self._data.exists():
            self._initialize(binaries, account, claim)
        found, needed = (self._data / "PG_VERSION").read_text().strip(), embedded_binaries.major_version(binaries)
        if found != needed:
            raise InvalidInput(
                f"{self._data} was written by Postgres {found}, this program brings Postgres {needed}: "
                f"dump it with a Postgres {found} and restore it, or move it away"
            )
        self._forget_the_last_start()
        settings = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        server = [str(binaries / "postgres"), "-D", str(self._data), *settings]
        with self._start_log.open("wb") as output:
            # The shell is gone at once, so that the server is nobody's child: no zombie when it ends before its starter.
            embedded_binaries.run(["/bin/sh", "-c", '"$@" &', "sh", *server], account, output=output, inherited=claim)

    def _initialize(self, binaries: Path, account: Account | None, claim: int) -> None:
        # Under another name until complete: an initdb that was killed leaves nothing that looks like a database.
        unfinished = self._home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account:
            os.chown(unfinished, account.uid, account.gid)
        # C.UTF-8 built into the server: sorting never changes with the machine's locale or its C library.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb = [str(binaries / "initdb"), "-D", str(unfinished), "-U", "postgres", "--auth=trust", "-T", "english"]
        with self._start_log.open("wb") as output:
            status = embedded_binaries.run(
                [*initdb, *locale, "--no-instructions"], account, output=output, inherited=claim
            )
        if status:
            reason = self._last_words()
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StoreUnavailable(f"no database could be made in {self._home}: {reason}")
        unfinished.rename(self._data)

    def _settings(self) -> dict[str, str]:
        memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "port": str(_PORT),
            "max_connections": "200",
            "shared_buffers": f"{min(1024, max(128, memory_mib // 8))}MB",
            "work_mem": "32MB",
            "maintenance_work_mem": "256MB",
            "max_wal_size": "1GB",
            "checkpoint_timeout": "15min",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "random_page_cost": "1.1",
            "jit": "off",
            "idle_in_transaction_session_timeout": "10min",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "on",
            "log_filename": "postgres-%Y%m%d-%H%M%S.log",
            "log_rotation_size": "16MB",
            "log_rotation_age": "0",
            # Statements and details quote rows, and people's documents do not belong in a log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        # Containers give /dev/shm 64 MiB by default, less than what one parallel index build shares.
        shared = Path("/dev/shm")
        if shared.exists() and shutil.disk_usage(shared).total < 512 * _MIB:
            settings["dynamic_shared_memory_type"] = "mmap"
        return settings

    def _own_socket_folder(self, account: Account | None) -> None:
        if self._sockets == self._data:
            return
        if not self._sockets.exists():
            self._sockets.mkdir(mode=0o700)
            if account:
                os.chown(self._sockets, account.uid, account.gid)
        found = self._sockets.lstat()
        # Trust authentication: whoever can reach the socket is superuser, so the folder must be the server's own.
        if (found.st_uid, found.st_mode) != (account.uid if account else os.geteuid(), stat.S_IFDIR | 0o700):
            raise StoreUnavailable(
                f"{self._sockets} belongs to somebody else: remove it, or choose a home with a shorter path"
            )

    def _forget_the_last_start(self) -> None:
        """Only called while no process of the server lives: its pid files can only be stale, and may name a foreign pid."""
        socket = self._sockets / f".s.PGSQL.{_PORT}"
        for stale in (self._data / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")):
            stale.unlink(missing_ok=True)
        for old in self._logs()[_LOG_FILES_KEPT:]:
            old.unlink()

    def _logs(self) -> list[Path]:
        """Newest first."""
        return sorted((self._data / "log").glob("postgres-*.log"), reverse=True)

    def _last_words(self) -> str:
        """Why the server or initdb ended, in one line."""
        # The server moves on to a log of its own half way up; before that, the newest one is still the last server's.
        lines = _complaints(self._start_log) or [line for log in self._logs()[:1] for line in _complaints(log)]
        # A log on a full disk is the first thing that cannot be written.
        if any("o space left" in line for line in lines) or shutil.disk_usage(self._home).free < _MIB:
            return f"no space left on the disk of {self._home}"
        return lines[-1] if lines else f"it gave no reason in {self._start_log}"

    def _create_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def _running(self) -> bool:
        with self._claim() as claim:
            return claim is None or self._postmaster() is not None

    def _postmaster(self) -> int | None:
        """Its pid as postmaster.pid says, unless that process is gone, a zombie or a stranger who got the number later."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            arguments = psutil.Process(pid).cmdline()
        except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        ours = arguments and Path(arguments[0]).name == "postgres" and str(self._data) in arguments
        return pid if ours else None

    @contextmanager
    def _alone(self, deadline: float) -> Iterator[None]:
        """One starter or stopper at a time; the kernel drops the lock of one that was killed."""
        with _opened(self._home / "lock") as descriptor:
            while not _locked(descriptor):
                self._pause(deadline, f"another process is still starting or stopping the server in {self._data}")
            yield

    @contextmanager
    def _claim(self) -> Iterator[int | None]:
        """A descriptor for the next server to inherit; None while any process of the last one, or its initdb, lives."""
        # Closed and not unlocked in the end: the lock belongs to every process that inherited it.
        with _opened(self._home / "server.lock") as descriptor:
            yield descriptor if _locked(descriptor) else None

    def _pause(self, deadline: float, complaint: str) -> None:
        if time.monotonic() > deadline:
            raise StoreUnavailable(complaint)
        time.sleep(_PAUSE_S)


def _socket_folder(data: Path) -> Path:
    if len(os.fsencode(data)) <= _SOCKET_FOLDER_MAX_BYTES and re.fullmatch(r"[A-Za-z0-9_./+-]+", str(data)):
        return data
    # Too long for a socket, or with characters that mean something in a list of hosts. Not the temporary folder of the
    # environment: every process must find the same one.
    return Path(f"/tmp/tokenopt-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}")


def _complaints(log: Path) -> list[str]:
    return [
        re.sub(r"^.*?(?=FATAL:|PANIC:|ERROR:)", "", line).strip()
        for line in log.read_text(errors="replace").splitlines()
        if re.search(r"FATAL:|PANIC:|ERROR:|error:|[Nn]o space left", line) and "the database system is" not in line
    ]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Closed to others: whoever can open a file can also hold a lock on it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _store_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(f"no space left on the disk of {home}") from error
        raise StoreUnavailable(f"the database in {home} cannot be used: {error.strerror}: {error.filename}") from error
    except psycopg.Error as error:
        if isinstance(error, psycopg.errors.DiskFull):
            raise StoreUnavailable(f"no space left on the disk of {home}") from error
        raise StoreUnavailable(f"the database in {home} cannot be used: {str(error).splitlines()[0]}") from error
