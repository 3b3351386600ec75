"""Where files under way lie: a directory that only this user can enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from softreg_core.errors import ServiceError

__all__ = ["private_directory"]


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 0700, or check that it is one and is ours; returns it.

    A path under /tmp can be taken by another user first: then that user could read what is written there.

    Raises:
        ServiceError: it is no directory, or another user owns it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ServiceError(f"the directory {path} is not a directory of this user")
    if status.st_mode & 0o077:
        path.chmod(0o700)
    return path
