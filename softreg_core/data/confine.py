"""The reading child takes away its own means: memory, processor time, open files, new privileges; Linux.

It does so before it imports anything that parses, and nothing afterwards can give them back.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

from softreg_core.data.request import ParseLimits
from softreg_core.lifeline import die_with_parent

__all__ = ["confine"]

_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_OPEN_FILES = 64


def confine(limits: ParseLimits, parent_pid: int) -> None:
    """Limit this process for good; it ends at once when `parent_pid` is no longer its parent."""
    os.umask(0o077)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, limits.output_bytes)
    # One second between the soft and the hard limit: SIGXCPU says why, SIGKILL comes if it is ignored.
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    _lower(resource.RLIMIT_AS, limits.memory_bytes)
    if sys.platform == "linux":
        _refuse_new_privileges()
    # The thread that started this process waits for it (softreg_core.data.parse), so it ends only with its process.
    die_with_parent(parent_pid)


def _lower(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or keep a lower one that the machine already has: raising it would be refused."""
    wanted = soft if hard is None else hard
    _, present = resource.getrlimit(kind)
    ceiling = wanted if present == resource.RLIM_INFINITY else min(wanted, present)
    resource.setrlimit(kind, (min(soft, ceiling), ceiling))


def _refuse_new_privileges() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
