"""The heart of a slot: a thread that keeps worker and lease alive and hears wishes, whatever the main thread does."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol

import psycopg
import structlog
from sqlalchemy import Engine

from softreg_jobs import store, workers
from softreg_jobs.database import UNAVAILABLE, listening
from softreg_jobs.errors import FencedError
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState

__all__ = ["Heart", "Pulse"]

log = structlog.get_logger("heart")


class Pulse(Protocol):
    """What the heart needs of a running attempt."""

    @property
    def mine(self) -> store.Claim:
        """The claim to keep."""

    def snapshot(self) -> tuple[int, dict[str, object]]:
        """How far training is: the step, and what to tell of it."""

    def heard(self, state: JobState) -> None:
        """The job's state, as the ledger has it."""

    def lost(self) -> None:
        """The lease is gone, or may be: write nothing more."""


class Heart(threading.Thread):
    """Beats every `beat_seconds`, and at once when the current job's state changes."""

    def __init__(self, settings: Settings, engine: Engine, worker_id: str, kinds: tuple[str, ...]) -> None:
        super().__init__(name="heart", daemon=True)
        self._settings = settings
        self._engine = engine
        self._worker_id = worker_id
        self._kinds = kinds
        # Held during a beat: after `detach` no beat of the ended attempt is under way.
        self._lock = threading.Lock()
        self._pulse: Pulse | None = None
        self._renewed = 0.0
        self._stopped = threading.Event()
        self.is_draining = False

    def attach(self, pulse: Pulse) -> None:
        """Begin to keep an attempt's lease, which was granted just now."""
        with self._lock:
            self._renewed = time.monotonic()
            self._pulse = pulse

    def detach(self) -> None:
        """The attempt is over, or about to be ended."""
        with self._lock:
            self._pulse = None

    def stop(self) -> None:
        """Leave the list of workers and end."""
        self._stopped.set()
        with contextlib.suppress(*UNAVAILABLE), self._engine.begin() as connection:
            workers.forget(connection, self._worker_id)

    def run(self) -> None:
        """Beat; when the database is away, try again until it is back."""
        while not self._stopped.is_set():
            try:
                with listening(self._settings, "softreg_job") as session:
                    self._announce()
                    while not self._stopped.is_set():
                        self.beat()
                        self._rest(session)
            except UNAVAILABLE as error:
                log.warning("database_unavailable", error=type(error).__name__)
                self._check_lease()
                self._stopped.wait(min(0.5, self._settings.beat_seconds))

    def _rest(self, session: psycopg.Connection) -> None:
        """Sleep until the next beat is due, or until the current job's state changes."""
        due = time.monotonic() + self._settings.beat_seconds
        while (left := due - time.monotonic()) > 0 and not self._stopped.is_set():
            for notice in session.notifies(timeout=left, stop_after=1):
                pulse = self._pulse
                if pulse is not None and notice.payload == pulse.mine.job_id:
                    return
        self._announce()

    def _announce(self) -> None:
        with self._engine.begin() as connection:
            workers.announce(connection, self._worker_id, self._kinds, is_draining=self.is_draining)

    def beat(self) -> None:
        """Renew the current attempt's lease, tell how far it is, and hear what its owner wishes.

        The supervisor calls it too, to show watchers where training is between two beats.
        """
        with self._lock:
            pulse = self._pulse
            if pulse is None:
                return
            step, progress = pulse.snapshot()
            try:
                with self._engine.begin() as connection:
                    state = store.beat(
                        connection,
                        pulse.mine,
                        lease_seconds=self._settings.lease_seconds,
                        step=step,
                        progress=progress,
                    )
            except FencedError:
                self._pulse = None
                pulse.lost()
                return
            self._renewed = time.monotonic()
            pulse.heard(state)

    def _check_lease(self) -> None:
        """Without an answer for a whole lease, somebody else may own the job by now."""
        with self._lock:
            pulse = self._pulse
            if pulse is not None and time.monotonic() - self._renewed > self._settings.lease_seconds:
                self._pulse = None
                pulse.lost()
