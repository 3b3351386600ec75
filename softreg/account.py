"""Whose the embedded servers are: the caller's, or an unprivileged system user's when root calls.

PostgreSQL refuses to run as root. Root therefore starts both servers as the system user `softreg`, which can neither
log in nor read anything but what it is given here.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from softreg.errors import LocalError

__all__ = ["Account", "can_enter", "own_directory", "server_account"]

_SYSTEM_USER = "softreg"


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system user other than the caller, under which a child runs."""

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """The user for the embedded servers: None (the caller) unless root calls; root's is created at its first use.

    Raises:
        LocalError: The system user is missing and cannot be created.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        _create_system_user()
        entry = pwd.getpwnam(_SYSTEM_USER)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_system_user() -> None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise LocalError(
            f"PostgreSQL does not run as root, and there is no useradd to create the user {_SYSTEM_USER!r}: "
            "create it, or run softreg as an ordinary user."
        )
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]
    result = subprocess.run([useradd, *options, _SYSTEM_USER], capture_output=True, text=True, check=False)
    already_there = 9  # useradd's exit status; another `softreg up` was faster
    if result.returncode not in (0, already_there):
        raise LocalError(f"The user {_SYSTEM_USER!r} cannot be created: {result.stderr.strip()}")


def own_directory(path: Path, account: Account | None) -> None:
    """Make `path` a directory of mode 0700 that belongs to the account (None: the caller).

    A directory that holds somebody else's files is refused, so that a mistyped path changes no permissions.

    Raises:
        LocalError: `path` exists, is not empty, and has another owner.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    uid, gid = (account.uid, account.gid) if account else (os.geteuid(), os.getegid())
    if path.stat().st_uid != uid:
        if any(path.iterdir()):
            raise LocalError(f"{path} belongs to another user and is not empty: choose a new or an empty directory.")
        os.chown(path, uid, gid)
    path.chmod(0o700)


def can_enter(path: Path, account: Account) -> bool:
    """Whether the account may pass through every directory above `path`, by owner, group and mode."""
    for parent in path.resolve().parents:
        status = parent.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
        if not status.st_mode >> shift & 1:
            return False
    return True
