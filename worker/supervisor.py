"""The supervisor of a slot: claims jobs, drives the runner, records what it tells. No torch here.

Whatever happens to the runner, the database or the lease, an attempt ends in one of four ways: it is finished
(succeeded, failed, cancelled), given back (drained), given back as a fault (the runner died), or lost: then somebody
else owns the job, and nothing more is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from softreg_core.errors import IntegrityError
from softreg_jobs import blobs, store
from softreg_jobs.database import UNAVAILABLE, engine_of
from softreg_jobs.errors import FencedError
from softreg_jobs.ids import new_id
from softreg_jobs.settings import Settings
from softreg_jobs.states import JobState
from softreg_jobs.workers import takes
from worker.attempt import Attempt, finite
from worker.heart import Heart
from worker.protocol import Action, FileRef, RunRequest
from worker.spool import Spool
from worker.warm import Exit, RunnerDiedError, WarmRunner

__all__ = ["Supervisor"]

T = TypeVar("T")
_LISTEN_SECONDS = 0.1
_RETRY_SECONDS = 0.25
_START_SECONDS = 120.0
_LONGEST_PAUSE_SECONDS = 60.0
_MEDIA_TYPES = {".json": "application/json"}
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
        self._runner = WarmRunner(settings, self._spool.directory)
        self._heart = Heart(settings, self._engine, self._worker_id, self._kinds, is_draining)

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
        """Take jobs until none is claimable. Never raises: a doorbell has nobody to report to."""
        while self._has_runner() and (mine := self._claim()) is not None:
            self._attempt(mine)

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

    def _claim(self) -> store.Claim | None:
        try:
            with self._engine.begin() as connection:
                lease = self._settings.lease_seconds
                return store.claim(connection, self._worker_id, self._kinds, lease_seconds=lease, device=self._device)
        except UNAVAILABLE as error:
            log.warning("database_unavailable", error=type(error).__name__)
            return None  # the keeper rings again

    def _attempt(self, mine: store.Claim) -> None:
        """Run one attempt to its end, whatever that is."""
        attempt = Attempt(mine)
        self._heart.attach(attempt)
        try:
            with self._spool.attempt(f"{mine.job_id}-{mine.fence}") as directory:
                self._drive(attempt, directory)
        except FencedError as error:
            log.warning("attempt_lost", job_id=mine.job_id, fence=mine.fence, error=error.message)
            self._runner.end()
        except RunnerDiedError as error:
            self._give_back(attempt, "runner_died", error)
        except IntegrityError as error:
            self._give_back(attempt, "integrity", error)
        except Exception as error:
            log.exception("attempt_broke", job_id=mine.job_id)
            self._give_back(attempt, "supervisor_broke", error)
        finally:
            self._heart.detach()
        if self._runner.is_worn():
            self._runner.end(grace_seconds=1.0)
        self._runner.start()

    def _give_back(self, attempt: Attempt, outcome: str, error: Exception) -> None:
        """The runner died, bytes were damaged, or we broke: the job is not to blame."""
        self._spool.forget_datasets()
        ended = self._runner.end()
        log.warning("attempt_fault", job_id=attempt.mine.job_id, error=str(error), runner=str(ended))
        facts = self._facts(ended)
        try:
            self._persist(attempt, lambda c: store.worker_fault(c, attempt.mine, outcome, facts))
        except FencedError:
            log.warning("attempt_lost", job_id=attempt.mine.job_id, fence=attempt.mine.fence)

    # --- one attempt ---------------------------------------------------------------------------------------------

    def _drive(self, attempt: Attempt, directory: Path) -> None:
        self._runner.run(self._request(attempt, directory))
        flushed_at = time.monotonic()
        asked_at: float | None = None
        while True:
            message = self._runner.receive(_LISTEN_SECONDS)
            if self._is_lost(attempt):
                raise FencedError("the lease is gone")
            action = self._wish(attempt)
            if action is not None and asked_at is None:
                asked_at = time.monotonic()
                self._runner.control(action)
            if message is not None and self._record(attempt, message):
                return
            if message is not None and asked_at is not None:
                asked_at = time.monotonic()  # it speaks: what it saves is worth the wait
            if asked_at is not None and time.monotonic() - asked_at > self._settings.cancel_grace_seconds:
                self._end_stuck(attempt)
                return
            if time.monotonic() - flushed_at > self._settings.metrics_flush_seconds:
                flushed_at = time.monotonic()
                self._flush(attempt)

    def _wish(self, attempt: Attempt) -> Action | None:
        if attempt.state is JobState.CANCELLING:
            return "cancel"
        return "stop" if self._is_draining() else None

    def _request(self, attempt: Attempt, directory: Path) -> RunRequest:
        mine = attempt.mine
        dataset = self._spool.dataset(mine.dataset, lambda blob, path: self._fetch(attempt, blob, path))
        resume, best = (self._checkpoint_file(attempt, stored, directory) for stored in (mine.resume, mine.best))
        return RunRequest(
            directory=str(directory),
            device=self._device,
            spec=mine.spec,
            dataset=FileRef(str(dataset), mine.dataset.sha256, mine.dataset.size),
            resume=resume,
            best=best,
        )

    def _checkpoint_file(
        self, attempt: Attempt, stored: store.StoredCheckpoint | None, directory: Path
    ) -> FileRef | None:
        if stored is None:
            return None
        path = directory / f"from-{stored.id}.safetensors"
        if not path.exists():  # the newest may be the best
            self._fetch(attempt, stored.blob, path)
        return FileRef(str(path), stored.blob.sha256, stored.blob.size)

    def _fetch(self, attempt: Attempt, blob: blobs.Blob, path: Path) -> None:
        self._persist(attempt, lambda c: blobs.save_to(c, blob, path))

    def _record(self, attempt: Attempt, message: dict[str, Any]) -> bool:
        """Write what the runner told; True when the attempt is over."""
        match message["type"]:
            case "started":
                attempt.started(message)
            case "progress":
                attempt.advanced(message["step"], message["epoch"])
            case "epoch":
                attempt.measured(message["step"], message["epoch"], message["metrics"])
            case "checkpoint":
                self._publish_checkpoint(attempt, message)
            case "finished":
                self._succeed(attempt, message)
                return True
            case "stopped":
                self._stopped(attempt, message["reason"])
                return True
            case "failed":
                self._failed(attempt, message["error"])
                return True
        return False

    def _publish_checkpoint(self, attempt: Attempt, message: dict[str, Any]) -> None:
        self._flush(attempt)
        blob = self._upload(attempt, message["file"])
        new = store.NewCheckpoint(
            blob,
            message["step"],
            message["epoch"],
            finite(message["metrics"]),
            attempt.metrics(),
            message["is_best"],
        )
        keep_last = attempt.mine.spec["checkpoints"]["keep_last"]
        self._persist(attempt, lambda c: store.publish_checkpoint(c, attempt.mine, new, keep_last=keep_last))
        Path(message["file"]["path"]).unlink()

    def _upload(self, attempt: Attempt, file: dict[str, Any]) -> blobs.Blob:
        blob = self._again(attempt, lambda: blobs.upload(self._engine, Path(file["path"])))
        if blob.sha256 != file["sha256"]:
            raise IntegrityError("a file changed between runner and database")
        return blob

    def _flush(self, attempt: Attempt) -> None:
        """Store new metrics and show watchers where training is."""
        series, event = attempt.take_blocks()
        if series:
            self._persist(attempt, lambda c: store.record_metrics(c, attempt.mine, series, event))
        self._again(attempt, self._heart.beat)

    # --- its end -------------------------------------------------------------------------------------------------

    def _succeed(self, attempt: Attempt, message: dict[str, Any]) -> None:
        attempt.advanced(message["step"], message["epoch"])
        attempt.enter("saving")
        files = [
            store.ModelFile(
                name,
                self._upload(attempt, file),
                _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"),
            )
            for name, file in message["files"].items()
        ]
        attempt.enter("finished")
        self._flush(attempt)
        result = store.Result(new_id("mdl"), files, finite(message["metrics"]), message["reason"])
        facts = self._facts(None)
        self._end(attempt, lambda c: store.succeed(c, attempt.mine, result, facts))

    def _failed(self, attempt: Attempt, error: dict[str, Any]) -> None:
        if error["code"] == IntegrityError.code:
            raise IntegrityError(error["message"])
        self._flush(attempt)
        facts = self._facts(None)
        self._end(attempt, lambda c: store.fail(c, attempt.mine, error, facts))
        if error["code"] == "resource_exhausted":
            self._runner.end()

    def _stopped(self, attempt: Attempt, reason: Action) -> None:
        self._flush(attempt)
        if reason == "cancel":
            self._cancelled(attempt, None)
        else:
            facts = self._facts(None)
            self._end(attempt, lambda c: store.release(c, attempt.mine, facts))

    def _end_stuck(self, attempt: Attempt) -> None:
        """The runner did not reach a step boundary in time."""
        ended = self._runner.end()
        self._flush(attempt)
        if attempt.state is JobState.CANCELLING:
            self._cancelled(attempt, ended)
        else:
            facts = self._facts(ended)
            self._end(attempt, lambda c: store.release(c, attempt.mine, facts))

    def _cancelled(self, attempt: Attempt, ended: Exit | None) -> None:
        facts = self._facts(ended)
        self._persist(attempt, lambda c: store.cancelled(c, attempt.mine, facts))

    def _end(self, attempt: Attempt, write: Callable[[Connection], None]) -> None:
        """Write an ending; a wish to cancel that came first wins over it."""
        try:
            self._persist(attempt, write)
        except FencedError:
            with self._engine.connect() as connection:
                state = store.state_under_fence(connection, attempt.mine)
            if state is not JobState.CANCELLING:
                raise
            self._cancelled(attempt, None)

    def _facts(self, ended: Exit | None) -> store.AttemptFacts:
        return store.AttemptFacts(
            exit_code=ended.code if ended else None,
            signal=ended.signal if ended else None,
            max_rss=None if ended else self._runner.max_rss_bytes(),
            log_tail=self._runner.log_tail or None,
        )

    def _is_lost(self, attempt: Attempt) -> bool:
        """Somebody else owns the job by now, or may: a whole lease went by without an answer."""
        return attempt.is_lost or self._heart.silent_seconds() > self._settings.lease_seconds

    def _persist(self, attempt: Attempt, write: Callable[[Connection], T]) -> T:
        """One transaction, tried until the database answers or the lease is lost."""

        def once() -> T:
            with self._engine.begin() as connection:
                return write(connection)

        return self._again(attempt, once)

    def _again(self, attempt: Attempt, action: Callable[[], T]) -> T:
        while True:
            if self._is_lost(attempt):
                raise FencedError(f"job {attempt.mine.job_id}: the lease was lost")
            try:
                return action()
            except UNAVAILABLE as error:
                log.warning("database_unavailable", job_id=attempt.mine.job_id, error=type(error).__name__)
                time.sleep(_RETRY_SECONDS)
