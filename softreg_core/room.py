"""How much memory of this machine a process may still take; torch-free."""

from __future__ import annotations

import resource
from pathlib import Path

from softreg_core.errors import ResourceError
from softreg_core.spec.memory import in_words

__all__ = ["free_memory", "require_room"]

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes: the least that system, container and the process's own address space have left; None where none tells."""
    known = (_of_system(), _of_container(), _of_address_space())
    return min((free for free in known if free is not None), default=None)


def require_room(needed: int, what: str, advice: str) -> None:
    """Refuse to begin what would only be killed on its way.

    Args:
        needed: bytes, estimated.
        what: needs them, as the subject of a sentence.
        advice: what to do about it.

    Raises:
        ResourceError: there are fewer; both numbers are named.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise ResourceError(f"{what} needs about {in_words(needed)} of memory, and {in_words(free)} are free: {advice}")


def _of_system() -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_container() -> int | None:
    most, used = (_lines(_CGROUP / name) for name in ("memory.max", "memory.current"))
    if not most or not used or most[0] == "max":
        return None
    # What the container holds of files can be given back.
    files = sum(int(line.split()[1]) for line in _lines(_CGROUP / "memory.stat") if line.startswith("inactive_file "))
    return max(0, int(most[0]) - int(used[0]) + files)


def _of_address_space() -> int | None:
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _lines(Path("/proc/self/statm"))
    if most == resource.RLIM_INFINITY or not pages:
        return None
    return max(0, most - int(pages[0].split()[0]) * resource.getpagesize())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
