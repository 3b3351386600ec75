"""What a runner may take of this machine: threads of its own, and memory for what it keeps. No torch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from softreg_jobs.settings import Settings

__all__ = ["machine_bytes", "resident_bytes", "threads_of_runner", "usable_cores"]

# Of the machine's memory, and of what a runner may hold before it is replaced.
_KEPT_SHARE = 4
_CGROUP = Path("/sys/fs/cgroup")
_CORES = Path("/sys/devices/system/cpu")


def threads_of_runner(settings: Settings, cores: int) -> int:
    """The threads that a large job may use: `threads_per_job`, or else an even share of the cores.

    Small jobs use one, see softreg_core.engine.threads. With more threads than cores every operation would wait for a
    thread that another job keeps from running. A smaller OMP_NUM_THREADS of the worker is kept to.

    Args:
        settings: of the service.
        cores: that this process may use.
    """
    share = settings.threads_per_job or max(1, cores // settings.workers_here)
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(given)) if given.isdecimal() and int(given) > 0 else share


def resident_bytes(settings: Settings, memory: int) -> int:
    """The most that a runner's kept datasets may take.

    Args:
        settings: of the service.
        memory: bytes of this machine.
    """
    share = memory // _KEPT_SHARE // settings.workers_here
    return min(settings.runner_data_bytes, share, settings.runner_memory_bytes // _KEPT_SHARE)


def usable_cores() -> int:
    """Cores, not hyperthreads, that this process may run on, within its container's quota of processor time."""
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_read(_CORES / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in processors}
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        return max(1, min(len(cores), int(quota) // int(period)))
    return len(cores)


def machine_bytes() -> int:
    """Memory of the machine, or of the container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max")
    return min(memory, int(limit)) if limit.isdecimal() else memory


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii").strip()
    return ""
