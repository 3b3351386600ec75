"""Keeps children alive: restarts a dead one with growing pauses, and stops all in reverse order."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from softreg.errors import LocalError
from softreg.home import ProcessRecord
from softreg.logs import log_tail
from softreg.process import Command, ask_to_end, await_end, identity, spawn
from softreg.signals import SignalWatch

__all__ = ["Backoff", "ProcessSupervisor", "StopRequestedError"]

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.02
_LOOK_SECONDS = 30.0  # signals end the wait earlier
_STARTUP_DEATHS = 3


class StopRequestedError(Exception):
    """A signal asked for the end before the start was done; the caller stops what runs and leaves in peace."""


@dataclass(slots=True)
class Backoff:
    """How long to wait before a restart: doubling with every early death, forgotten after a long life."""

    first_seconds: float = 0.2
    longest_seconds: float = 30.0
    long_life_seconds: float = 60.0
    deaths: int = 0

    def after(self, life_seconds: float) -> float:
        """The pause after a child that lived for `life_seconds`."""
        if life_seconds >= self.long_life_seconds:
            self.deaths = 0
        self.deaths += 1
        exponent = min(self.deaths - 1, 16)  # a float power of thousands of deaths would overflow
        return min(self.first_seconds * 2.0**exponent, self.longest_seconds)


@dataclass(slots=True)
class _Child:
    command: Command
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restart_at: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class ProcessSupervisor:
    """Children in the order of their start.

    Args:
        signals: Entered by the caller; ends the waiting.
        on_change: Called whenever a child started or ended.
    """

    def __init__(self, signals: SignalWatch, on_change: Callable[[], object] = lambda: None) -> None:
        self._signals = signals
        self._on_change = on_change
        self._children: list[_Child] = []

    @property
    def processes(self) -> tuple[ProcessRecord, ...]:
        """The children that run now."""
        running = ((child.command.name, child.process) for child in self._children if child.process is not None)
        known = ((name, process.pid, identity(process.pid)) for name, process in running)
        return tuple(ProcessRecord(name, pid, text) for name, pid, text in known if text is not None)

    @property
    def is_complete(self) -> bool:
        """Whether every child runs."""
        return len(self.processes) == len(self._children)

    def start(self, command: Command) -> None:
        """Start one more child and keep it alive from now on."""
        child = _Child(command)
        self._children.append(child)
        self._spawn(child)
        self._on_change()

    def start_up(self, is_ready: Mapping[str, Callable[[], bool]], timeout_seconds: float) -> None:
        """Watch the children until each of those named is ready.

        Args:
            is_ready: By a child's name; asked in this order, the later ones only when the earlier ones are ready.
            timeout_seconds: For all of them together.

        Raises:
            LocalError: A child died again and again, or the time ran out; the message ends with its log.
            StopRequestedError: A signal came first.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._signals.stop_requested:
            self._revive()
            for child in self._children:
                if child.backoff.deaths >= _STARTUP_DEATHS:
                    raise LocalError(f"{child.command.name} does not start:\n{log_tail(child.command.log)}")
            late = next((name for name, look in is_ready.items() if not look()), None)
            if late is None:
                return
            if time.monotonic() > deadline:
                log = next(child.command.log for child in self._children if child.command.name == late)
                raise LocalError(f"{late} is not ready after {timeout_seconds:.0f} seconds ({log}):\n{log_tail(log)}")
            self._signals.wait(_POLL_SECONDS)
        raise StopRequestedError

    def run(self, on_look: Callable[[], object] = lambda: None) -> None:
        """Keep the children alive until a stop is requested.

        Args:
            on_look: Called every half a minute, and whenever a signal comes.
        """
        while not self._signals.stop_requested:
            wait_seconds = self._revive()
            on_look()
            self._signals.wait(wait_seconds)

    def stop(self) -> None:
        """Stop every child, the last started first; children of one kind (`worker`, `worker-2`) side by side."""
        while self._children:
            kind = _kind(self._children[-1])
            together = [child for child in reversed(self._children) if _kind(child) == kind]
            _end_together(together)
            self._children = [child for child in self._children if _kind(child) != kind]
            self._on_change()

    def _revive(self) -> float:
        """Notice deaths and restart what is due.

        Returns:
            Seconds until the next restart is due, or the next look.
        """
        wait_seconds = _LOOK_SECONDS
        for child in self._children:
            now = time.monotonic()
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.process is None and child.restart_at <= now:
                self._spawn(child)
                self._on_change()
            if child.process is None:
                wait_seconds = min(wait_seconds, child.restart_at - now)
        return wait_seconds

    def _spawn(self, child: _Child) -> None:
        child.started = time.monotonic()
        try:
            child.process = spawn(child.command)
        except OSError as error:  # no memory, or the program is being replaced: as good as a child that died at once
            self._postpone(child, f"{child.command.name} cannot be started: {error}")

    def _bury(self, child: _Child) -> None:
        if child.process is not None:
            code = await_end(child.process, child.command.grace_seconds)
            child.process = None
            self._postpone(child, f"{child.command.name} ended with {code}")

    def _postpone(self, child: _Child, reason: str) -> None:
        now = time.monotonic()
        pause_seconds = child.backoff.after(now - child.started)
        child.restart_at = now + pause_seconds
        _log.warning("%s; starting it again in %.1f s", reason, pause_seconds)
        self._on_change()


def _kind(child: _Child) -> str:
    return child.command.name.partition("-")[0]


def _end_together(children: Sequence[_Child]) -> None:
    running = [(child.command, child.process) for child in children if child.process is not None]
    for command, process in running:
        ask_to_end(process, command.stop_signal)
    asked = time.monotonic()
    for command, process in running:
        await_end(process, max(0.0, asked + command.grace_seconds - time.monotonic()))
