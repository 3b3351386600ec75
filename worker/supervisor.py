"""The supervisor of a slot: keeps a runner ready, claims jobs and files to build, has each driven to its end. No torch.

Whatever happens to the runner, the database or the lease, an attempt ends in one of four ways: it is finished
(succeeded, failed, cancelled), given back (drained), given back as a fault (the runner died), or lost: then somebody
else owns the job, and nothing more is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from softreg_core.errors import IntegrityError
from softreg_jobs import store
from softreg_jobs.database import UNAVAILABLE, engine_of
from softreg_jobs.errors import FencedError
from softreg_jobs.ids import new_id
from softreg_jobs.settings import Settings
from softreg_jobs.workers import takes
from worker.attempt import Attempt
from worker.drive import Drive, Slot
from worker.export import ExportDrive
from worker.heart import Heart
from worker.spool import Spool
from worker.warm import RunnerDiedError, WarmRunner

__all__ = ["Supervisor"]

T = TypeVar("T")
_LISTEN_SECONDS = 0.1
_RETRY_SECONDS = 0.25
_START_SECONDS = 120.0
_LONGEST_PAUSE_SECONDS = 60.0
log = structlog.get_logger("supervisor")


class Supervisor:
    """One slot on one device. Make it in the process that works, on its main thread."""

    def __init__(self, settings: Settings, device: str, is_draining: Callable[[], bool]) -> None:
        self._settings = settings
        self._device = device
        self._is_draining = is_draining
        self._engine = engine_of(settings, pool_size=3)
        self._worker_id = new_id("wrk")
        self._kinds = takes(device)
        self._spool = Spool(settings.spool_dir)
        self._runner = WarmRunner(settings, self._spool.directory, device)
        self._heart = Heart(settings, self._engine, self._worker_id, self._kinds, is_draining)
        self._slot = Slot(
            settings, self._runner.device, self._engine, self._spool, self._runner, self._heart, is_draining
        )

    def start(self) -> None:
        """Warm the runner and make this worker known."""
        self._runner.start()
        self._heart.start()

    def stop(self) -> None:
        """End the runner and leave."""
        self._heart.stop()
        self._runner.end(grace_seconds=1.0)
        self._spool.remove()
        self._engine.dispose()

    def work(self) -> None:
        """Take jobs until none is claimable, then models' files. Never raises: a doorbell has nobody to report to.

        A job that waits comes before every file: whoever waits for the file has a model already.
        """
        while self._has_runner() and (self._work_at_a_job() or self._work_at_an_export()):
            pass

    def _work_at_a_job(self) -> bool:
        mine = self._claimed(
            lambda c: store.claim(
                c, self._worker_id, self._kinds, lease_seconds=self._settings.lease_seconds, device=self._device
            )
        )
        if mine is not None:
            self._attempt(mine)
        return mine is not None

    def _work_at_an_export(self) -> bool:
        lease = self._settings.lease_seconds
        mine = self._claimed(lambda c: store.claim_export(c, self._worker_id, lease_seconds=lease))
        if mine is not None:
            self._export(mine)
        return mine is not None

    def _has_runner(self) -> bool:
        """Wait until the runner is ready; False when this worker drains.

        No job is claimed before: a worker whose runner does not even start is sick itself, and must not take job
        after job with it.
        """
        pause = 1.0
        while not self._is_draining():
            try:
                self._runner.start()
                if self._runner.is_ready(_START_SECONDS, self._is_draining):
                    self._heart.is_sick = False
                    return True
            except RunnerDiedError:
                ended = self._runner.end()
                self._heart.is_sick = True
                log.exception("runner_does_not_start", runner=str(ended), log_tail=self._runner.log_tail)
                self._rest(pause)
                pause = min(2.0 * pause, _LONGEST_PAUSE_SECONDS)
        return False

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_draining():
            time.sleep(_LISTEN_SECONDS)

    def _claimed(self, claim: Callable[[Connection], T | None]) -> T | None:
        try:
            with self._engine.begin() as connection:
                return claim(connection)
        except UNAVAILABLE as error:
            log.warning("database_unavailable", error=type(error).__name__)
            return None  # the keeper rings again

    def _attempt(self, mine: store.Claim) -> None:
        """Run one attempt to its end, whatever that is."""
        attempt = Attempt(mine)
        drive = Drive(self._slot, attempt)
        self._heart.attach(attempt)
        try:
            self._drive(drive, mine)
        except FencedError as error:
            log.warning("attempt_lost", job_id=mine.job_id, fence=mine.fence, error=error.message)
            self._runner.end()
        except Exception:
            log.exception("attempt_broke", job_id=mine.job_id)
            self._runner.end()
        finally:
            self._heart.detach()
        self._renew_runner()

    def _export(self, mine: store.ExportClaim) -> None:
        """Build one file, or end the attempt to."""
        drive = ExportDrive(self._slot, mine)
        try:
            with self._spool.attempt(f"{mine.model_id}-{mine.name}-{mine.fence}") as directory:
                drive.run(directory)
        except FencedError as error:
            log.warning("export_lost", model_id=mine.model_id, name=mine.name, error=error.message)
            self._runner.end()
        except Exception:
            # Its lease runs out, and it is tried again.
            log.exception("export_broke", model_id=mine.model_id, name=mine.name)
            self._runner.end()
        self._renew_runner()

    def _renew_runner(self) -> None:
        if self._runner.is_worn():
            self._runner.end(grace_seconds=1.0)
        self._runner.start()

    def _drive(self, drive: Drive, mine: store.Claim) -> None:
        try:
            with self._spool.attempt(f"{mine.job_id}-{mine.fence}") as directory:
                drive.run(directory)
        except FencedError:
            raise
        except RunnerDiedError:
            drive.give_back("runner_died")
        except IntegrityError:
            drive.give_back("integrity")
        except Exception:
            log.exception("attempt_broke", job_id=mine.job_id)
            drive.give_back("supervisor_broke")
