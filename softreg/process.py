"""Children that never outlive their parent: started apart from the terminal, logged to a file, ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from softreg.account import Account
from softreg.logs import open_log

__all__ = ["Command", "ask_to_end", "await_end", "end", "end_stranger", "identity", "spawn"]

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec a child must not import or load.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_HAS_PROC = Path("/proc/self/stat").exists()


@dataclass(frozen=True, slots=True)
class Command:
    """How to start one child, and how to end it."""

    name: str
    arguments: tuple[str, ...]
    directory: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals | None = signal.SIGTERM
    """What the kernel sends the child when its parent is gone (Linux); None: it lives on."""
    grace_seconds: float = 10.0
    """How long the child may take after `stop_signal` before it is killed."""


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own, with standard output and error appended to its log.

    No terminal's Ctrl-C or hang-up reaches it: its parent decides.

    Raises:
        OSError: The program cannot be executed.
        RuntimeError: Called outside the main thread: the kernel ties a child's life to the thread that made it.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Children are started from the main thread only.")
    account = command.account
    log = open_log(command.log)
    try:
        return subprocess.Popen(
            command.arguments,
            cwd=command.directory,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=_die_with_parent(command.orphan_signal),  # noqa: PLW1509  # one thread, and few calls
        )
    finally:
        os.close(log)


def _die_with_parent(orphan_signal: signal.Signals | None) -> Callable[[], None] | None:
    """What the child does between fork and exec; after the change of user, which would undo it."""
    if _LIBC is None or orphan_signal is None:
        return None
    libc, parent, number = _LIBC, os.getpid(), int(orphan_signal)

    def ask_the_kernel() -> None:
        # A shell's background job ignores SIGINT and SIGQUIT, and a child inherits that: the signal would be lost.
        signal.signal(number, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the call above, which then never fires
            os._exit(1)

    return ask_the_kernel


def ask_to_end(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Send the signal, unless the child has ended by itself."""
    if process.poll() is None:
        process.send_signal(stop_signal)


def await_end(process: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """Wait for the child's end, then kill it; whatever it left in its process group is killed too.

    Returns:
        The child's return code.
    """
    try:
        process.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _kill_group(process.pid)
    return process.returncode


def end(process: subprocess.Popen[bytes], stop_signal: signal.Signals, grace_seconds: float) -> int:
    """`ask_to_end`, then `await_end`."""
    ask_to_end(process, stop_signal)
    return await_end(process, grace_seconds)


def end_stranger(pid: int, known_as: str, stop_signal: signal.Signals, grace_seconds: float) -> None:
    """`end` for a process that an earlier supervisor left behind, if it still is that process."""
    if identity(pid) != known_as:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
    _wait_gone(pid, known_as, grace_seconds)
    if identity(pid) == known_as:
        _kill_group(pid)
        _wait_gone(pid, known_as, grace_seconds)


def _wait_gone(pid: int, known_as: str, seconds: float) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if identity(pid) != known_as:
            return
        pause.wait(0.02)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or nothing but a zombie (macOS)
        os.killpg(group, signal.SIGKILL)


def identity(pid: int) -> str | None:
    """A text that tells this process from a later one with the same number; None when it is gone or a zombie."""
    if _HAS_PROC:
        try:
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        started_ticks = rest[18]  # field 22 of proc(5): clock ticks between boot and the process's start
        return None if state in "ZX" else started_ticks
    result = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = result.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
