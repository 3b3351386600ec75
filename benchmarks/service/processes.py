"""Processes by their ids: what they hold, what descends from them, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from softreg.process import identity

__all__ = ["end_tree", "family", "megabytes", "peak_mebibytes", "reset_peak"]

_GRACE_SECONDS = 15.0


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def megabytes(pids: Iterable[int]) -> float:
    """Resident memory in 10^6 bytes; what several processes share is divided among them (PSS)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6


def reset_peak(pid: int) -> None:
    """Forget the most memory that a process has held."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mebibytes(pid: int) -> float:
    """The most memory that a process has held at once since `reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it has started, also what has left its group."""
    members = {pid: identity(pid) for pid in family(process.pid)}
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    deadline = time.monotonic() + _GRACE_SECONDS
    while _living(members) and time.monotonic() < deadline:
        for pid in _living(members):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    process.wait()


def _living(members: dict[int, str | None]) -> list[int]:
    return [pid for pid, known_as in members.items() if known_as is not None and identity(pid) == known_as]
