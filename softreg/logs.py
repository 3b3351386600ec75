"""Logs of children: private, appended to, and kept small while somebody writes them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["LOG_LIMIT_BYTES", "keep_small", "log_tail", "open_log"]

LOG_LIMIT_BYTES = 10 * 2**20
_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def open_log(path: Path) -> int:
    """A descriptor for a child, at the log's end; no link is followed.

    Raises:
        OSError: It cannot be opened.
    """
    with contextlib.suppress(OSError):  # a full disk: a long log is better than no child
        keep_small(path)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def keep_small(path: Path) -> None:
    """Move the end of a log that is past its limit to `.1`, over an older one, and empty the log.

    It stays the same file, so that its writers go on at its new end: they append. What they write between the copy
    and the cut is lost.

    Raises:
        OSError: The copy could not be written; the log is left as it was.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as log:
        size = os.fstat(descriptor).st_size
        if size > LOG_LIMIT_BYTES:
            log.seek(size - LOG_LIMIT_BYTES)
            older = os.open(path.with_name(path.name + ".1"), _ANEW, 0o600)
            with os.fdopen(older, "wb") as file:
                file.write(log.read(LOG_LIMIT_BYTES))
            log.truncate(0)


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for a message about a child that did not start."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
