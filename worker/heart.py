"""The heart of a slot: a thread that keeps worker and lease alive and hears wishes, whatever the main thread does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Protocol

import psycopg
import structlog
from sqlalchemy import Connection, Engine

from softreg_jobs import store, workers
from softreg_jobs.database import UNAVAILABLE, listen, session
from softreg_jobs.errors import FencedError
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState

__all__ = ["Heart", "Pulse"]

_STOP_SECONDS = 0.25
_JOIN_SECONDS = 5.0
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

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        worker_id: str,
        kinds: tuple[str, ...],
        is_draining: Callable[[], bool],
    ) -> None:
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
        self._is_draining = is_draining
        self.is_sick = False

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
        self.join(_JOIN_SECONDS)

    def silent_seconds(self) -> float:
        """How long the ledger has not answered a beat of the current attempt; 0 when there is none."""
        return time.monotonic() - self._renewed if self._pulse is not None else 0.0

    def run(self) -> None:
        """Beat until stopped; whatever goes wrong, try again."""
        while not self._stopped.is_set():
            try:
                with session(self._settings) as connection:
                    listen(connection, "softreg_job")
                    self._announce()
                    while not self._stopped.is_set():
                        self.beat()
                        self._rest(connection)
            except UNAVAILABLE as error:
                log.warning("database_unavailable", error=type(error).__name__)
            except Exception:
                # A database in recovery refuses writes in many words; a worker without a heart would be lost.
                log.exception("beat_failed")
            self._stopped.wait(min(0.5, self._settings.beat_seconds))
        with contextlib.suppress(*UNAVAILABLE), self._engine.begin() as database:
            workers.forget(database, self._worker_id)

    def _rest(self, connection: psycopg.Connection) -> None:
        """Sleep until the next beat is due, or until the current job's state changes."""
        due = time.monotonic() + self._settings.beat_seconds
        while (left := due - time.monotonic()) > 0 and not self._stopped.is_set():
            for notice in connection.notifies(timeout=min(left, _STOP_SECONDS), stop_after=1):
                pulse = self._pulse
                if pulse is not None and notice.payload == pulse.mine.job_id:
                    return
        if not self._stopped.is_set():
            self._announce()

    def _announce(self) -> None:
        state = "draining" if self._is_draining() else "sick" if self.is_sick else "ready"
        with self._engine.begin() as connection:
            workers.announce(connection, self._worker_id, self._kinds, state=state)

    def beat(self) -> None:
        """Renew the current attempt's lease, tell how far it is, and hear what its owner wishes.

        The supervisor calls it too, to show watchers where training is between two beats.
        """
        with self._lock:
            pulse = self._pulse
            if pulse is None:
                return
            try:
                with self._engine.begin() as connection:
                    state = self._renew(connection, pulse)
            except FencedError:
                self._pulse = None
                pulse.lost()
                return
            self._renewed = time.monotonic()
            pulse.heard(state)

    def tell(self, connection: Connection) -> None:
        """Tell how far the current attempt is, in the caller's transaction, which is to end it.

        Raises:
            FencedError: the lease is gone.
        """
        pulse = self._pulse
        if pulse is not None:
            self._renew(connection, pulse)

    def _renew(self, connection: Connection, pulse: Pulse) -> JobState:
        step, progress = pulse.snapshot()
        lease_seconds = self._settings.lease_seconds
        return store.beat(connection, pulse.mine, lease_seconds=lease_seconds, step=step, progress=progress)
