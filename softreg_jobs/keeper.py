"""The keeper: rings doorbells from the outbox, takes jobs from silent workers, sweeps what is past.

One leads, by an advisory lock on a session of its own; the others wait. Every action is a guarded statement, so two
leaders for a moment do no harm. It sleeps on NOTIFY and wakes at the latest every `keeper_poll_seconds`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import structlog
from sqlalchemy import delete, select

from softreg_jobs import queue, store, workers
from softreg_jobs.blobs import sweep_blobs
from softreg_jobs.database import UNAVAILABLE, engine_of, listen, session
from softreg_jobs.errors import UnavailableError
from softreg_jobs.logs import configure_logs
from softreg_jobs.settings import Settings, load_settings
from softreg_jobs.tables import idempotency, now, outbox

__all__ = ["LEADER_LOCK", "Keeper", "main"]

LEADER_LOCK = 7_390_114_275_002
"""The advisory lock of the keeper that leads."""
_RELAY_BATCH = 1000
# After doorbells: of jobs that come by hundreds a second many share one turn, and the first waits for none.
_REST_SECONDS = 0.02
_SWEEP_SECONDS = 600.0
_REDIS_PAUSE_SECONDS = 1.0
_IDEMPOTENCY_HOURS = 24

_BELLS = select(outbox.c.id, outbox.c.key).where(outbox.c.topic == "doorbell").order_by(outbox.c.id).limit(_RELAY_BATCH)

log = structlog.get_logger("keeper")


class Keeper:
    """Relay, reaper and sweeper in one loop; `run` returns after `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = engine_of(settings, pool_size=2)
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._app = queue.celery_app(settings)
        self._stopped = threading.Event()
        self._reap_from = 0.0
        self._slept: float | None = None
        self._ring_from = 0.0
        self._next: dict[str, float] = {}

    def stop(self) -> None:
        """End the loop at its next turn."""
        self._stopped.set()

    def run(self) -> None:
        """Lead when nobody else does, until stopped; a lost database is waited for."""
        while not self._stopped.is_set():
            try:
                with session(self._settings) as connection:
                    self._lead_or_wait(connection)
            except UNAVAILABLE as error:
                log.warning("database_unavailable", error=type(error).__name__)
                self._hold_reaper()
                self._stopped.wait(0.5)
        self.close()

    def close(self) -> None:
        """Give up every connection; `run` does it at its end."""
        self._engine.dispose()
        self._app.close()

    def _lead_or_wait(self, connection: psycopg.Connection) -> None:
        while not self._stopped.is_set():
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
            if row is not None and row[0]:
                log.info("leading")
                self._lead(connection)
                return
            self._stopped.wait(1.0)

    def _lead(self, connection: psycopg.Connection) -> None:
        # Only now: one who waits would never read what it hears.
        listen(connection, "softreg_keeper")
        self._hold_reaper_after_restart(connection)
        while not self._stopped.is_set():
            self.turn()
            for _ in connection.notifies(timeout=self._settings.keeper_poll_seconds, stop_after=1):
                pass

    def turn(self) -> None:
        """Everything that is due now; what needs PostgreSQL alone comes before what may wait for Redis."""
        self._at_most_every(min(1.0, self._settings.lease_seconds / 4), self.reap)
        self._at_most_every(_SWEEP_SECONDS, self._sweep)
        if time.monotonic() >= self._ring_from:
            try:
                self._relay()
                self._at_most_every(self._settings.ring_again_seconds, self._ring_again)
            except UnavailableError:
                log.warning("redis_unavailable")
                self._ring_from = time.monotonic() + _REDIS_PAUSE_SECONDS

    def _at_most_every(self, seconds: float, action: Callable[[], None]) -> None:
        now_seconds = time.monotonic()
        if now_seconds >= self._next.get(action.__name__, 0.0):
            self._next[action.__name__] = now_seconds + seconds
            action()

    def _hold_reaper(self) -> None:
        """After an outage the workers' beats are late through no fault of theirs: watch for one full lease first."""
        self._reap_from = time.monotonic() + self._settings.lease_seconds

    def _hold_reaper_after_restart(self, connection: psycopg.Connection) -> None:
        age = connection.execute("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())").fetchone()
        if age is not None and float(age[0]) < self._settings.lease_seconds:
            self._hold_reaper()

    def _relay(self) -> None:
        """Ring what the outbox holds: at least once, since a row goes only after its doorbell.

        Of many rows for one kind each living worker gets one doorbell, for it takes jobs until nothing is left. No
        transaction is open while Redis is spoken to: a Redis that hangs must hold no row.
        """
        with self._single.connect() as connection:
            rows = connection.execute(_BELLS).all()
            living = workers.living_kinds(connection, alive_seconds=self._settings.silent_seconds) if rows else None
        if living is None:
            return
        rows_of: dict[str, list[int]] = {}
        for row in rows:
            rows_of.setdefault(row.key, []).append(row.id)
        rung: list[int] = []
        try:
            for kind, ids in rows_of.items():
                for _ in range(min(len(ids), max(1, living[kind]))):
                    queue.ring(self._app, kind)
                rung += ids
        finally:
            if rung:
                with self._single.connect() as connection:
                    connection.execute(delete(outbox).where(outbox.c.id.in_(rung)))
        self._stopped.wait(_REST_SECONDS)

    def _ring_again(self) -> None:
        with self._engine.begin() as connection:
            wanted = workers.doorbells_wanted(connection, alive_seconds=self._settings.silent_seconds)
        for kind, count in wanted.items():
            for _ in range(count):
                queue.ring(self._app, kind)

    def reap(self) -> None:
        """Take the jobs of workers that fell silent, unless silence is to be expected just now."""
        with self._engine.begin() as connection:
            at = connection.execute(select(now())).scalar_one()
            expired = store.expired_leases(connection)
        # A clock that stands still while the machine sleeps, beside one that does not: when they drift apart, the
        # workers' beats are late through no fault of theirs.
        slept = at.timestamp() - time.monotonic()
        if self._slept is not None and slept - self._slept > self._settings.lease_seconds / 2:
            self._hold_reaper()
        self._slept = slept
        if time.monotonic() < self._reap_from:
            return
        for job_id in expired:
            with self._engine.begin() as connection:
                state = store.reap(connection, job_id)
            if state is not None:
                log.warning("lease_expired", job_id=job_id, state=state)

    def _sweep(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                delete(idempotency).where(idempotency.c.created_at < now() - timedelta(hours=_IDEMPOTENCY_HOURS))
            )
            sweep_blobs(connection)
            workers.forget_lost(connection, silent_seconds=3600.0)


def main() -> None:
    """Run a keeper until SIGTERM or SIGINT."""
    settings = load_settings()
    configure_logs(settings.log_level)
    keeper = Keeper(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: keeper.stop())
    keeper.run()
