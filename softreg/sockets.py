"""Private directories for Unix sockets, with paths that everything understands.

The kernel takes at most 108 bytes of path; PostgreSQL splits its setting at commas; a URL has its own idea of `%`, `@`
and spaces, and each client library another one.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from softreg.account import Account, own_directory
from softreg.errors import LocalError

__all__ = ["LONGEST_SOCKET_PATH", "socket_directory"]

LONGEST_SOCKET_PATH = 100
"""Bytes; below every system's limit (Linux 108, macOS 104, each with the closing zero)."""

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def socket_directory(directory: Path, account: Account | None, longest_name: str) -> Path:
    """A directory of mode 0700 below `directory`, or, where that path will not do, a temporary one recorded there.

    Args:
        directory: The server's own directory.
        account: Whose the directory is; None: the caller's.
        longest_name: The longest file name that goes into it.

    Raises:
        LocalError: No temporary directory has a short and plain path.
    """
    near = directory / "socket"
    if _fits(near, longest_name):
        own_directory(near, account)
        return near
    record = directory / "socket_directory"
    if record.exists() and _is_ours(far := Path(record.read_text()), account):
        return far
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  # mkdtemp makes a new private directory
        if _fits(Path(base, "softreg-12345678"), longest_name):
            far = Path(tempfile.mkdtemp(prefix="softreg-", dir=base))
            own_directory(far, account)
            record.write_text(str(far))
            return far
    raise LocalError(
        f"No directory for sockets with a plain path under {LONGEST_SOCKET_PATH} bytes: set TMPDIR to one."
    )


def _fits(directory: Path, name: str) -> bool:
    path = str(directory / name)
    return _PLAIN.fullmatch(path) is not None and len(path) < LONGEST_SOCKET_PATH


def _is_ours(directory: Path, account: Account | None) -> bool:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    owner = account.uid if account else os.geteuid()
    return (
        directory.is_dir() and not directory.is_symlink() and (status.st_uid, status.st_mode & 0o777) == (owner, 0o700)
    )
