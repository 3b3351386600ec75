"""A process that never outlives the one that started it; standard library only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that comes about; Linux.

    The kernel means the thread that started this process: it must live as long as the parent is wanted. A change of
    user undoes the wish, `exec` does not. Elsewhere than on Linux only a parent that is gone already is noticed.

    Args:
        parent_pid: Who should be the parent, as known before the fork. A process that has another one by now ends at
            once and without cleaning up. Its own question for the parent would come too late to tell an orphan: in a
            container, process 1 may be the right answer.

    Raises:
        OSError: The kernel refuses.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    # The parent may have died before the call above; then no signal will come.
    if os.getppid() != parent_pid:
        os._exit(1)
