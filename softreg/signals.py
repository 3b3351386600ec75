"""Waiting that a signal ends: a request to stop, or the death of a child."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["SignalWatch"]

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalWatch:
    """While entered, stop signals only set `stop_requested`; `wait` returns early for them and for SIGCHLD.

    The interpreter writes each signal to a pipe, so that one that arrives just before `wait` is not slept over.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._previous_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*_STOP, signal.SIGCHLD):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_descriptor)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or less when a signal comes."""
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            os.read(self._reader, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # the signature of a handler
        if number in _STOP:
            self.stop_requested = True
