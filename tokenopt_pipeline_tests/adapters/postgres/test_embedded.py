"""The embedded server comes up, once, whatever happened before; and is refused with one line where it cannot."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.domain.errors import StoreUnavailable
from tokenopt_pipeline_tests.postgres_servers import embedded_home, postmaster_pid, wait_until

REPOSITORY = Path(__file__).parents[3]
IS_ROOT = os.geteuid() == 0

UP = """
import sys
from pathlib import Path
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).up(), flush=True)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with embedded_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServer]:
    """A server for tests that do it no harm."""
    with embedded_home() as folder:
        server = EmbeddedServer(folder)
        server.up()
        yield server


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A home that other tests have used before, because making a database is what takes time here."""
    with embedded_home() as folder:
        EmbeddedServer(folder).up()
        yield folder


@pytest.fixture
def stopped(used: Path) -> Path:
    """A home with a database that is not running; tests leave it as they found it."""
    EmbeddedServer(used).down()
    return used


def starter(home: Path, program: str = UP) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(home)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def postmasters(home: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(home / "data") in (arguments := process.info["cmdline"] or []) and "-D" in arguments
    ]


def test_twelve_processes_that_start_at_once_share_one_server(home: Path) -> None:
    home = home / "not" / "made" / "yet"
    if IS_ROOT:
        home.mkdir(parents=True)
    starters = [starter(home) for _ in range(12)]

    printed = {one.communicate(timeout=60) for one in starters}

    try:
        assert printed == {(f"{EmbeddedServer(home).url()}\n", "")}
        assert postmasters(home) == [postmaster_pid(home)]
    finally:
        EmbeddedServer(home).down()


def test_the_server_stays_when_its_starter_is_killed(stopped: Path) -> None:
    first = starter(stopped, f"{UP}\nsys.stdin.read()")
    assert first.stdout
    url = first.stdout.readline().strip()
    pid = postmaster_pid(stopped)

    first.kill()
    first.communicate()

    assert EmbeddedServer(stopped).up() == url
    assert postmaster_pid(stopped) == pid


def test_the_server_is_started_by_the_next_when_its_starter_is_killed_during_initdb(home: Path) -> None:
    first = starter(home)
    wait_until((home / "data.unfinished" / "PG_VERSION").exists)
    first.kill()
    first.communicate()

    EmbeddedServer(home).up()

    assert not (home / "data.unfinished").exists()


def test_stopping_twice_and_starting_again_keeps_the_rows(stopped: Path) -> None:
    server = EmbeddedServer(stopped)
    assert not server.down()
    with psycopg.connect(server.up()) as connection:
        connection.execute("create table kept as select 7 as n")

    assert server.down()
    assert not server.alive()
    assert not server.down()
    assert postmasters(stopped) == []

    with psycopg.connect(server.up()) as connection:
        assert connection.execute("select n from kept").fetchall() == [(7,)]


def test_a_postmaster_killed_during_a_copy_comes_back_with_what_was_committed_and_nothing_else(used: Path) -> None:
    server = EmbeddedServer(used)
    with psycopg.connect(server.up()) as connection:
        connection.execute("create table bulk (body text)")
        connection.execute("insert into bulk values ('committed')")
    copier = threading.Thread(target=pytest.raises, args=(psycopg.OperationalError, copy_without_end, server.url()))
    copier.start()
    wait_until(lambda: copied_bytes(server.url()) > 100_000_000)

    os.kill(postmaster_pid(used), signal.SIGKILL)
    url = server.up()

    copier.join()
    with psycopg.connect(url) as connection:
        assert connection.execute("select body from bulk").fetchall() == [("committed",)]


def copy_without_end(url: str) -> None:
    rows = b"".join(b"%04d" % number + b"x" * 1400 + b"\n" for number in range(1000))
    with psycopg.connect(url) as connection, connection.cursor().copy("copy bulk from stdin") as copy:
        while True:
            copy.write(rows)


def copied_bytes(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select max(bytes_processed) from pg_stat_progress_copy").fetchone()
    return (row and row[0]) or 0


def test_a_pid_file_that_names_a_living_stranger_is_not_believed(used: Path) -> None:
    server = EmbeddedServer(used)
    server.up()
    pid_file = used / "data" / "postmaster.pid"
    os.kill(postmaster_pid(used), signal.SIGKILL)
    with stranger_of(pid_file) as stranger:
        dead, *rest = pid_file.read_text().splitlines(keepends=True)
        pid_file.write_text(f"{stranger.pid}\n" + "".join(rest))
        socket_lock = used / "data" / ".s.PGSQL.5432.lock"
        socket_lock.write_text(socket_lock.read_text().replace(dead.strip(), str(stranger.pid), 1))
        server.down()

        server.up()

        assert server.down()
        assert stranger.poll() is None


@contextmanager
def stranger_of(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user who owns `path`, because Postgres itself ignores a pid that it may not signal."""
    process = subprocess.Popen(["sleep", "600"], user=path.stat().st_uid if IS_ROOT else None)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a process that adopts orphans and does not reap them")
def test_a_postmaster_that_nobody_reaps_is_not_taken_for_a_living_one(stopped: Path) -> None:
    set_child_subreaper = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
    own = set(psutil.Process().children())
    ctypes.CDLL(None).prctl(set_child_subreaper, 1)
    try:
        server = EmbeddedServer(stopped)
        server.up()
        dead = postmaster_pid(stopped)
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: psutil.Process(dead).status() == psutil.STATUS_ZOMBIE)

        server.up()

        assert server.alive()
        assert postmaster_pid(stopped) != dead
        server.down()
    finally:
        ctypes.CDLL(None).prctl(set_child_subreaper, 0)
        for orphan in set(psutil.Process().children()) - own:
            orphan.wait()


def test_a_new_server_waits_for_the_orphans_of_the_last(used: Path) -> None:
    server = EmbeddedServer(used)
    with psycopg.connect(server.up()) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        os.kill(postmaster_pid(used), signal.SIGKILL)

        with pytest.raises(StoreUnavailable, match="does not answer yet"):
            server.up(wait_s=1)
        assert postmasters(used) == []

        os.kill(backend, signal.SIGCONT)
        server.up()
    assert server.alive()


def test_a_server_with_all_connections_taken_is_alive(running: EmbeddedServer) -> None:
    with ExitStack() as taken:
        for _ in range(200):
            taken.enter_context(psycopg.connect(running.url()))
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(running.url())

        assert running.alive()
        assert running.up() == running.url()


def test_a_home_with_a_long_path_and_odd_characters_listens_elsewhere_and_only_for_us(home: Path) -> None:
    server = EmbeddedServer(home / f"ä b,c'$\"%{'d' * 100}")
    (home / server._home.name).mkdir(mode=0o711)

    with psycopg.connect(server.up()) as connection:
        row = connection.execute("show unix_socket_directories").fetchone()
    assert row
    assert Path(row[0]).stat().st_mode & 0o777 == 0o700

    assert server.down()
    assert not Path(row[0]).exists()


def test_a_socket_folder_that_somebody_else_made_is_refused(home: Path) -> None:
    server = EmbeddedServer(home / ("d" * 100))
    (home / server._home.name).mkdir(mode=0o711)
    server._sockets.mkdir()
    server._sockets.chmod(0o777)
    try:
        with pytest.raises(StoreUnavailable, match="belongs to somebody else"):
            server.up()
    finally:
        server._sockets.rmdir()


def test_a_starter_that_hangs_makes_the_next_one_give_up_in_time(home: Path) -> None:
    server = EmbeddedServer(home)

    with server._alone(deadline=float("inf")), pytest.raises(StoreUnavailable, match="still starting or stopping"):
        server.up(wait_s=0.1)


def test_old_logs_are_removed_at_the_next_start(stopped: Path) -> None:
    logs = stopped / "data" / "log"
    for year in range(2001, 2020):
        (logs / f"postgres-{year}0101-000000.log").touch()

    EmbeddedServer(stopped).up()
    EmbeddedServer(stopped).down()

    assert len(list(logs.iterdir())) <= 5


def test_settings_keep_the_log_small_and_the_sorting_independent_of_the_machine(running: EmbeddedServer) -> None:
    with psycopg.connect(running.url()) as connection:
        asked = connection.execute("select name, setting || coalesce(unit, '') from pg_settings").fetchall()
        settings: dict[str, str] = dict(asked)
        locale = connection.execute(
            "select datlocprovider::text, datlocale from pg_database where datname = 'tokenopt'"
        ).fetchone()

    assert locale == ("b", "C.UTF-8")
    assert (settings["max_wal_size"], settings["listen_addresses"]) == ("1024MB", "")
    assert (settings["logging_collector"], settings["log_rotation_size"]) == ("on", "16384kB")


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_starting_crashing_and_stopping_work_the_same_without_root() -> None:
    nobody = pwd.getpwnam("nobody")
    dropped: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": REPOSITORY}
    dropped["env"] = {
        "PATH": os.defpath,
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "de_DE.UTF-8",
        "PGHOST": "nowhere.invalid",
        "PGPORT": "1",
        "PGUSER": "nobody-at-all",
        "PGDATABASE": "none",
    }
    python = python_within_reach(dropped)
    chosen = "twelve or stays_when or stopping_twice or during_a_copy or stranger or odd_characters or all_connections"

    tests = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "--durations=0", "-k", chosen, str(Path(__file__))],
        check=False,
        capture_output=True,
        text=True,
        **dropped,
    )

    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "7 passed" in tests.stdout
    sys.stdout.write(tests.stdout)


def python_within_reach(dropped: dict[str, Any]) -> str:
    """This interpreter, or the system's own of the same version where this one is below a home that is closed to others."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path=os.defpath)):
        with suppress(PermissionError):
            if (
                python
                and not subprocess.run(
                    [python, "-c", "import psycopg, pytest"], check=False, capture_output=True, **dropped
                ).returncode
            ):
                return python
    pytest.skip(f"an unprivileged user can reach no {version} that has this project's packages")
